"""Blur kernels, blurring and downsampling, and the bicubic baseline that is aligned with them."""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import scipy.ndimage
import torch
from numpy.random import Generator, RandomState
from numpy.typing import NDArray

from blindvsr import InputError
from blindvsr.frames import Frame
from blindvsr.ops.blur import SCALE, blur_down

KERNEL_SIZE = 13
TEST_SIGMA = 1.2  # of the paper's Gaussian test sets
SIGMAS = tuple(round(0.4 + 0.1 * i, 1) for i in range(17))  # of the paper's Gaussian training: 0.4, 0.5, ..., 2.0
MIXED_SIGMAS = (0.4, 2.4)  # range of the mixed kernels: a little more than what the paper trains
DECIMATIONS = ("area", "bicubic", "lanczos")


def gaussian_kernel(sigma: float) -> NDArray[np.float64]:
    """An isotropic Gaussian of side 2 ceil(3 sigma) + 1, like MATLAB's fspecial.

    Args:
        sigma: standard deviation in HR pixels, above 0.

    Returns:
        (k, k), sums to 1.

    Raises:
        InputError: if sigma is not above 0.
    """
    if not sigma > 0:
        raise InputError(f"sigma={sigma}: the standard deviation of the blur must be above 0")
    radius = math.ceil(3 * sigma)
    squares = np.arange(-radius, radius + 1, dtype=np.float64) ** 2
    kernel = np.exp(-(squares[:, None] + squares) / (2 * sigma**2))
    kernel[kernel < np.finfo(np.float64).eps * kernel.max()] = 0
    return kernel / kernel.sum()


def realistic_kernel(rng: Generator | RandomState) -> NDArray[np.float64]:
    """A random anisotropic Gaussian with multiplicative noise, after KernelGAN's generator, as the paper uses it.

    It is drawn on 31x31, shifted to its centre, and resized to 13x13. Its centre of mass comes out near (6.2, 6.2):
    the official generator centres it at size / 2 and not at size // 2.

    Args:
        rng: two variances, the angle and the noise are drawn from it in the official order, so that
            `np.random.RandomState(s)` gives the kernel that the official code gives after `np.random.seed(s)`.

    Returns:
        (13, 13), not negative, sums to 1.
    """
    size, noise_level = 31, 0.25
    lowest, highest = 0.6 * SCALE, 5.0 * SCALE
    variances = [lowest + rng.random() * (highest - lowest) for _ in range(2)]
    angle = rng.random() * np.pi
    noise = rng.random((size, size)) * 2 * noise_level - noise_level
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    precision = np.linalg.inv(rotation @ np.diag(variances) @ rotation.T)
    offsets = np.stack(np.meshgrid(range(size), range(size)), -1) - (size // 2 + 0.5 * (SCALE - size % 2))
    kernel = np.exp(-0.5 * np.einsum("yxi,ij,yxj->yx", offsets, precision, offsets)) * (1 + noise)
    centre = np.array(scipy.ndimage.center_of_mass(kernel))
    kernel = np.maximum(scipy.ndimage.shift(kernel, size / 2 - centre), 0)
    kernel = cv2.resize(kernel / kernel.sum(), (KERNEL_SIZE, KERNEL_SIZE), interpolation=cv2.INTER_CUBIC)
    kernel = np.maximum(kernel, 0)
    return kernel / kernel.sum()


def anisotropic_kernel(sigmas: tuple[float, float], angle: float) -> NDArray[np.float64]:
    """A Gaussian of two standard deviations along its axes, (13, 13).

    Args:
        sigmas: standard deviations, HR pixels, above 0.
        angle: of the first axis, radians.

    Returns:
        (13, 13), sums to 1.
    """
    x, y = np.meshgrid(*[np.arange(KERNEL_SIZE) - KERNEL_SIZE // 2] * 2)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    kernel = np.exp(-((along / sigmas[0]) ** 2 + (across / sigmas[1]) ** 2) / 2)
    return kernel / kernel.sum()


def decimation_kernel(name: str) -> NDArray[np.float64]:
    """What plain resizing to a quarter does, as a kernel around the pixel that is kept, (13, 13).

    Args:
        name: area, bicubic (a = -0.5, as Pillow, MATLAB and swscale have it) or lanczos (three lobes); the two are cut
            off at 6.5 pixels, beyond which 1 % and 5 % of their absolute weight lie.

    Returns:
        (13, 13), sums to 1; bicubic and lanczos have negative entries.
    """
    x = np.abs(np.arange(KERNEL_SIZE) - KERNEL_SIZE // 2) / SCALE
    if name == "area":
        line = np.clip((0.5 - x) * SCALE + 0.5, 0, 1)
    elif name == "bicubic":
        line = np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0))
    else:
        line = np.sinc(x) * np.sinc(x / 3)
    kernel = np.outer(line, line)
    return kernel / kernel.sum()


def draw_kernel(kind: str, rng: Generator, sigma: float | None = None) -> NDArray[np.float64]:
    """A kernel, centred in (13, 13) where it is smaller.

    Args:
        kind: "gaussian", "realistic", or "mixed": 55 % isotropic Gaussians of 0.4 to 2.4 pixels, 25 % anisotropic ones,
            12 % realistic, 8 % plain area, bicubic and Lanczos decimation.
        rng: numpy generator; it decides everything but a given sigma.
        sigma: of the Gaussian; drawn from 0.4, 0.5, ..., 2.0 when None. The other kinds have none.

    Raises:
        InputError: for another kind.
    """
    if kind == "realistic":
        return realistic_kernel(rng)
    if kind == "mixed":
        return _mixed_kernel(rng)
    if kind != "gaussian":
        raise InputError(f"kind={kind!r}: choose gaussian, realistic or mixed")
    kernel = gaussian_kernel(SIGMAS[rng.integers(len(SIGMAS))] if sigma is None else sigma)
    return np.pad(kernel, max(0, (KERNEL_SIZE - len(kernel)) // 2))


def _mixed_kernel(rng: Generator) -> NDArray[np.float64]:
    share, sigmas = rng.random(), rng.uniform(*MIXED_SIGMAS, 2)
    if share < 0.55:
        return anisotropic_kernel((sigmas[0], sigmas[0]), 0)
    if share < 0.80:
        return anisotropic_kernel((sigmas[0], sigmas[1]), rng.random() * np.pi)
    return realistic_kernel(rng) if share < 0.92 else decimation_kernel(DECIMATIONS[rng.integers(len(DECIMATIONS))])


def bicubic_up(frame: Frame, scale: int = SCALE, centred: bool = False) -> Frame:
    """Bicubic upsampling (a = -0.75) that puts LR pixel i on HR pixel `scale` * i, where `blur_down` took it from.

    A plain resize is `(scale - 1) / 2` pixels off and 2 dB worse on Vid4: not a fair baseline.

    Args:
        frame: (H, W, 3).
        scale: how many times larger.
        centred: put it into the middle of `scale` pixels instead, where a plain resize took it from.

    Returns:
        (4H, 4W, 3).
    """
    height, width = frame.shape[:2]
    shift = (1 / scale - 1) / 2 if centred else 0
    inverse = np.array([[1 / scale, 0, shift], [0, 1 / scale, shift]])
    upsampled = cv2.warpAffine(
        frame, inverse, (scale * width, scale * height),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
    )
    return upsampled.astype(np.uint8, copy=False)


def kernel_picture(kernels: Sequence[NDArray[np.float64]] | NDArray[np.float32], captions: Sequence[str]) -> Frame:
    """Kernels side by side, enlarged ten times and on one scale of brightness, each above its caption.

    Args:
        kernels: (k, k) each.
        captions: as many, of up to ten letters.

    Returns:
        (10 k + 28, n (10 k + 8), 3), grey.
    """
    white = max(kernel.max() for kernel in kernels)
    tiles = []
    for kernel, caption in zip(kernels, captions, strict=True):
        grey = np.clip(kernel / white, 0, 1) * 255
        tile = cv2.resize(grey.round().astype(np.uint8), None, fx=10, fy=10, interpolation=cv2.INTER_NEAREST)
        tile = cv2.copyMakeBorder(tile, 4, 24, 4, 4, cv2.BORDER_CONSTANT, value=(64,))
        cv2.putText(tile, caption, (6, tile.shape[0] - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255,), 1)
        tiles.append(tile)
    return np.repeat(np.hstack(tiles).astype(np.uint8, copy=False)[..., None], 3, axis=2)


def crop_to_scale(frame: Frame, multiple: int = SCALE) -> Frame:
    """Drops the last rows and columns that do not fill a multiple of 4, or of another number."""
    return frame[: frame.shape[0] // multiple * multiple, : frame.shape[1] // multiple * multiple]


def blurred(frames: NDArray[np.uint8], kernel: NDArray[np.float64]) -> NDArray[np.float32]:
    """Frames as `blur_down` leaves them, before noise and rounding.

    Args:
        frames: (N, 4H, 4W, 3).
        kernel: (k, k), k odd.

    Returns:
        (N, H, W, 3), levels; beyond 0 and 255 where the kernel has negative entries.
    """
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)[None].float()
    low = blur_down(pixels, torch.from_numpy(kernel)[None, None].float())
    return low[0].permute(0, 2, 3, 1).numpy()


def degrade_frame(frame: Frame, kernel: NDArray[np.float64]) -> Frame:
    """The test sets' degradation of one frame: (4H, 4W, 3) -> (H, W, 3), blurred, downsampled, rounded to uint8."""
    return np.rint(blurred(frame[None], kernel)[0].clip(0, 255)).astype(np.uint8)
