"""Between a video's colours (YUV of some matrix and range) and RGB, to within rounding.

The matrix is applied here. FFmpeg's scaler takes every video for BT.601 unless told, is up to 3 levels off when told,
and scales the full range differently from version to version; it only resamples chroma and reduces bit depth here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import cv2
import numpy as np
from av.filter import Graph
from numpy.typing import NDArray

from blindvsr.frames import Frame

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

# FFmpeg's numbers (AVCOL_SPC_*, AVCOL_RANGE_*): the same in every version
BT709, UNSPECIFIED, BT601, YCGCO = 1, 2, 6, 8
HDR = {16: "PQ", 18: "HLG"}  # AVCOL_TRC_*
LIMITED, FULL = 1, 2
LUMA_WEIGHTS = {  # matrix -> weights of red and blue
    BT709: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), BT601: (0.299, 0.114), 7: (0.212, 0.087),
    9: (0.2627, 0.0593), 10: (0.2627, 0.0593),
}


@dataclass(frozen=True)
class Colour:
    """What the samples of a video mean; `primaries` and `transfer` are only passed on."""

    matrix: int = BT709
    range: int = LIMITED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    display: str | None = None  # of HDR, see `hdr.mastering`
    light: str | None = None
    chroma_left: bool = True  # H.264's position of chroma samples; JPEG has them in the middle of four pixels

    @classmethod
    def of(cls, codec: "VideoCodecContext", size: tuple[int, int]) -> "Colour":
        """The colours of an opened video; where the file is silent, the guess that players make.

        Args:
            codec: decoder of the stream.
            size: (H, W); untagged video up to 576 lines is taken for BT.601, larger for BT.709.
        """
        guess = BT709 if size[0] > 576 or size[1] > 1024 else BT601
        colour = cls(
            matrix=codec.colorspace if codec.colorspace in (*LUMA_WEIGHTS, YCGCO) else guess,
            range=FULL if codec.color_range == FULL else LIMITED,
            primaries=codec.color_primaries, transfer=codec.color_trc,
            chroma_left=codec.name != "mjpeg",
        )
        if codec.format is None or codec.format.is_rgb or codec.format.has_palette:
            return replace(colour, matrix=BT709, range=LIMITED)  # RGB has neither; this is what it is written as
        if codec.format.name.startswith("yuvj"):  # FFmpeg's older way to say so
            return replace(colour, range=FULL)
        return colour

    def equation(self, deep: bool = False) -> NDArray[np.float64]:
        """(3, 4): RGB (0..255) and 1 -> YUV (0..255); if deep, RGB (0..65535) and 1 -> YUV of 16 bits."""
        if self.matrix == YCGCO:
            matrix = np.array([[1, 2, 1], [-1, 2, -1], [2, 0, -2]]) / 4
        else:
            red, blue = LUMA_WEIGHTS[self.matrix]
            luma = np.array([red, 1 - red - blue, blue])
            matrix = np.stack((luma, (np.eye(3)[2] - luma) / (2 - 2 * blue), (np.eye(3)[0] - luma) / (2 - 2 * red)))
        if self.range == LIMITED:
            matrix *= np.array([[219], [224], [224]]) / 255
        if deep:  # FFmpeg shifts YUV of any depth up to 16 bits: its white of 10 bits stays 64 below the most
            matrix *= 256 / 257 if self.range == LIMITED else 65472 / 65535
        offset = np.array([16 if self.range == LIMITED else 0, 128, 128])
        return np.column_stack((matrix, 256 * offset if deep else offset))

    def to_rgb(self, yuv: Frame) -> Frame:
        """YUV (H, W, 3) -> RGB (H, W, 3), of 8 or 16 bits."""
        equation = self.equation(yuv.dtype == np.uint16)
        inverse = np.linalg.inv(equation[:, :3])
        return cv2.transform(yuv, np.column_stack((inverse, -inverse @ equation[:, 3]))).astype(yuv.dtype, copy=False)

    def to_yuv(self, rgb: Frame) -> Frame:
        """RGB (H, W, 3) -> YUV (H, W, 3), of 8 or 16 bits."""
        return cv2.transform(rgb, self.equation(rgb.dtype == np.uint16)).astype(rgb.dtype, copy=False)


def convert_format(source: str, target: str, size: tuple[int, int], colour: Colour) -> Callable[[Any], Any]:
    """A function from av.VideoFrame to av.VideoFrame of another pixel format; matrix and range stay as they are.

    Args:
        source: FFmpeg's name of the pixel format that comes in.
        target: name of the one that goes out.
        size: (H, W).
        colour: its range, and where the chroma samples sit in a subsampled format.
    """
    span = "pc" if colour.range == FULL else "tv"
    options = f"flags=bicubic+accurate_rnd+full_chroma_inp+full_chroma_int:in_range={span}:out_range={span}"
    position = 0 if colour.chroma_left else 128
    for side, name in (("in", source), ("out", target)):
        if av.VideoFormat(name).components[1:] and "420" in name:
            options += f":{side}_h_chr_pos={position}:{side}_v_chr_pos=128"
    graph = Graph()
    chain = [
        graph.add_buffer(width=size[1], height=size[0], format=av.VideoFormat(source), time_base=Fraction(1, 1000)),
        graph.add("scale", options),
        graph.add("format", f"pix_fmts={target}"),
        graph.add("buffersink"),
    ]
    for first, second in zip(chain, chain[1:]):
        first.link_to(second)
    graph.configure()

    def convert(frame: Any) -> Any:
        frame.pts = None  # timestamps are kept by the callers
        frame.colorspace = UNSPECIFIED  # or FFmpeg 8 converts to what it guesses the target to be
        graph.push(frame)
        return graph.pull()

    return convert


class ToRGB:
    """Turns decoded frames of one size and format into RGB arrays."""

    def __init__(self, name: str, size: tuple[int, int], colour: Colour, deep: bool = False) -> None:
        """Prepares for frames of pixel format `name` (FFmpeg's) and `size` (H, W), to become `deep` ones of 16 bits."""
        layout = av.VideoFormat(name, size[1], size[0])
        self.colour = colour
        self.source = (name, size)
        target = "yuvj444p" if name.startswith("yuvj") else "yuv444p"
        self.grey = is_grey(layout)
        if layout.is_rgb or layout.has_palette:
            target = "rgb24"
        elif self.grey:
            target = "gray"
        if deep:
            target = {"rgb24": "rgb48le", "gray": "gray16le"}.get(target, "yuv444p16le")
        self.target = target
        self.convert = convert_format(name, target, size, colour) if name != target else None

    def __call__(self, frame: Any) -> Frame:
        """av.VideoFrame -> RGB uint8 or uint16 (H, W, 3)."""
        pixels = (self.convert(frame) if self.convert else frame).to_ndarray()
        if self.target.startswith("rgb"):
            return pixels
        if self.grey:
            chroma = np.full_like(pixels, 128 if pixels.dtype == np.uint8 else 128 * 256)
            return self.colour.to_rgb(np.stack((pixels, chroma, chroma), axis=-1))
        # PyAV has the planes of 8 bits first, those of 16 last
        planes = pixels if pixels.dtype == np.uint16 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
        return self.colour.to_rgb(planes)


def is_grey(layout: Any) -> bool:
    """Whether an av.VideoFormat has luma alone (and perhaps alpha)."""
    return not layout.is_rgb and not layout.has_palette and sum(not part.is_alpha for part in layout.components) == 1
