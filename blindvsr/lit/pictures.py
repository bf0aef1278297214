"""Pictures for TensorBoard: what a network makes of a validation clip, or of a pair of frames whose motion is known."""

import torch
from torch import Tensor
from torchvision.utils import flow_to_image

from blindvsr.datasets import WINDOW
from blindvsr.degrade import bicubic_up, kernel_picture
from blindvsr.frames import Frame
from blindvsr.lit.footage import ValidationClip
from blindvsr.lit.measures import middle_window, to_clip
from blindvsr.network import BlindVSR
from blindvsr.ops import to_frame
from blindvsr.tail import collapse

LARGEST = 192  # sides of what is shown, low-resolution pixels


def kernel_pictures(net: BlindVSR, clip: ValidationClip) -> dict[str, Frame]:
    """The middle frame of a clip, and the estimated kernel (left) beside the true one."""
    low, _ = middle_window(clip, LARGEST)
    frames = to_clip(low, next(net.parameters()).device)
    kernels = {"estimated": net.estimate_kernel(frames)[0, 0].double().cpu().numpy()}
    if clip.kernel is not None:
        kernels["true"] = clip.kernel
    return {
        "1_input": low[WINDOW // 2],
        "5_kernel_estimated_true": kernel_picture(list(kernels.values()), list(kernels)),
    }


def clip_pictures(net: BlindVSR, clip: ValidationClip) -> dict[str, Frame]:
    """The same, bicubic upsampling (aligned), the restored frame, the truth, and the flow to the next frame."""
    low, truth = middle_window(clip, LARGEST)
    frames = to_clip(low, next(net.parameters()).device)
    flow = net.flow(frames[:, WINDOW // 2], frames[:, WINDOW // 2 + 1])
    pictures = {
        **kernel_pictures(net, clip),
        "2_bicubic": bicubic_up(low[WINDOW // 2]),
        "3_restored": to_frame(net(frames, tail=collapse(net.tail))[0].float()),
        "6_flow": flow_to_image(flow)[0].permute(1, 2, 0).cpu().numpy(),
    }
    return pictures if truth is None else {**pictures, "4_truth": truth[WINDOW // 2]}


def motion_pictures(net: BlindVSR, pairs: dict[str, Tensor]) -> dict[str, Frame]:
    """Both frames of the first pair, the true flow and the estimated one in one scale of colours."""
    first, second, truth = (pairs[name][:1] for name in ("first", "second", "flow"))
    flows = flow_to_image(torch.cat((truth, net.flow(first, second)), -1))[0]
    return {
        "1_first": to_frame(first[0]), "2_second": to_frame(second[0]),
        "3_flow_true_estimated": flows.permute(1, 2, 0).cpu().numpy(),
    }
