"""Where training from nothing starts."""

import numpy as np
import torch
from torch import nn

from blindvsr.degrade import blur_down, draw_kernel
from blindvsr.flow import PWCNet
from blindvsr.frames import Frame
from blindvsr.kernel import KernelEstimator
from blindvsr.lit.normalise import normalise_flow, normalise_kernel
from blindvsr.losses import kernel_distance


def test_normalised_flow(bundled_frames: list[Frame]) -> None:
    net = PWCNet(0.1)
    features = crops(bundled_frames, 64)[:, 0]
    normalise_flow(net, features)
    with torch.no_grad():
        for stage in net.extractor:
            for layer in stage:
                features = layer(features)
                if isinstance(layer, nn.Conv2d) and features.shape[-1] > 4:
                    deviation, mean = torch.std_mean(features, (0, 2, 3), correction=0)
                    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=1e-4)
                    torch.testing.assert_close(deviation, torch.ones_like(mean), rtol=0, atol=1e-3)


def crops(frames: list[Frame], side: int) -> torch.Tensor:
    """Clips of one repeated frame, (N, 5, 3, side, side)."""
    corners = [(top, left) for top in range(0, 360 - side, side) for left in range(0, 640 - side, side)]
    stack = np.stack([frames[0][top : top + side, left : left + side] for top, left in corners])
    return torch.from_numpy(stack).permute(0, 3, 1, 2)[:, None].repeat(1, 5, 1, 1, 1).float() / 255


def test_a_normalised_estimator_is_blind_to_colour_and_learns_blur(bundled_frames: list[Frame]) -> None:
    torch.manual_seed(0)
    net = KernelEstimator(num_frames=5, kernel_size=13)
    frames = crops(bundled_frames, 128)
    kernels = torch.stack([torch.from_numpy(draw_kernel("gaussian", np.random.default_rng(0), sigma)).float()[None]
                           for sigma in (0.6, 1.8)])
    clips = torch.cat([blur_down(frames, kernel.expand(len(frames), -1, -1, -1)) for kernel in kernels])
    true = kernels.repeat_interleave(len(frames), 0)
    normalise_kernel(net, clips)
    with torch.no_grad():
        before = kernel_distance(net(clips), true).item()
        plain = torch.rand(3, 5, 3, 1, 1).expand(-1, -1, -1, 40, 40)
        inner = net.features[0](plain.flatten(1, 2))[..., 1:-1, 1:-1]
    torch.testing.assert_close(inner, inner[:1].expand_as(inner), rtol=0, atol=1e-4)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-4)
    for _ in range(15):
        loss = kernel_distance(net(clips), true)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    assert loss.item() < 0.6 * before  # without the start it is 0.9
