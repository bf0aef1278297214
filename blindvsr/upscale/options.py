"""The options of `blindvsr upscale`, in groups; nothing heavy is imported, so that its help is quick."""

import argparse
from fractions import Fraction
from pathlib import Path

EXAMPLES = """\
examples:
  blindvsr upscale my.mp4 restored.mp4
  blindvsr upscale videos/ restored/ --height 1080
  blindvsr upscale my.mp4 look.png --preview --start 1:30
  blindvsr upscale my.mp4 part.mp4 --start 1:30 --end 2:00
  blindvsr upscale photo.jpg restored.png
  ffmpeg -i my.mp4 -f yuv4mpegpipe - | blindvsr upscale - - | ffmpeg -i - restored.mp4
  blindvsr upscale frames/ restored/ --save_kernel kernel.mat
  blindvsr upscale frames/ restored.mkv --fps 24000/1001 --weights net.safetensors --overwrite"""


def _tile(text: str) -> int | str:
    return text if text == "auto" else int(text)


def _rate(text: str) -> Fraction:
    rate = Fraction(text)
    if rate <= 0:
        raise ValueError
    return rate


def _time(text: str) -> Fraction:
    seconds = Fraction(0)
    for part in text.split(":"):
        value = Fraction(part)
        if value < 0 or text.count(":") > 2:
            raise ValueError
        seconds = 60 * seconds + value
    return seconds


def _rows(text: str) -> int:
    rows = int(text)
    if rows < 16:
        raise ValueError
    return rows


_tile.__name__, _rate.__name__, _rows.__name__ = "size or auto", "rate", "height (16 or more)"
_time.__name__ = "time, in seconds or as h:mm:ss,"
# argparse quotes them: invalid <name> value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `blindvsr upscale`; imports nothing heavy."""
    parser.add_argument("inputs", type=Path, metavar="INPUT", nargs="+",
                        help="video file, image, or folder of images; several of them, or a folder of videos and "
                             "folders, are restored one by one; - reads y4m from standard input")
    parser.add_argument("output", type=Path, metavar="OUTPUT",
                        help="video file (.mp4, .mkv, .mov, .webm or .gif; frame rate and sound are kept), folder for "
                             "PNG images, or .png for one image; for several inputs a folder for their results; - "
                             "writes y4m to standard output")
    part = parser.add_argument_group("which part")
    part.add_argument("--start", type=_time, metavar="TIME",
                      help="begin there: seconds or h:mm:ss from the beginning of the input; sound is cut alike")
    part.add_argument("--end", type=_time, metavar="TIME", help="end before that time, likewise")
    part.add_argument("--preview", action="store_true",
                      help="write one frame into OUTPUT, a .png: as it is, enlarged by bicubic interpolation, and "
                           "restored, side by side; the frame at --start (default: 10 s, or the middle)")
    _network_arguments(parser.add_argument_group("the network"))
    _video_arguments(parser.add_argument_group("video files"))
    outputs = parser.add_argument_group("outputs")
    size = outputs.add_mutually_exclusive_group()
    size.add_argument("--scale", type=int, choices=(2, 3, 4), default=4,
                      help="how many times as wide and high as the input: frames are restored at 4 times (default) and "
                           "reduced from there")
    size.add_argument("--height", type=_rows, metavar="ROWS",
                      help="height of the output, like 1080, likewise; 4 times the input's at most")
    outputs.add_argument("--save_kernel", type=Path, metavar="FILE.mat",
                         help="write the estimated blur kernel of every frame into this file, as the array kernel of "
                              "(frames, 13, 13), and of every shot, as shot_kernel; and a picture of some of them "
                              "beside it")
    outputs.add_argument("--overwrite", action="store_true", help="replace what stands where the output goes")
    outputs.add_argument("--resume", action="store_true",
                         help="go on where a job with the same input, weights and options was killed or interrupted; "
                              "and if this one is interrupted, keep what it has finished for the next")


def _network_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--weights", metavar="NAME|FILE", type=Path,
                       help="the network's weights: clean or footage, or a file in any known format. By default "
                            "footage for encoded video and JPEG images, clean for lossless video and images")
    group.add_argument("--tile", type=_tile, default="auto",
                       help="side of the tiles that large frames are restored in, in input pixels, 32 at least; auto "
                            "(default) takes the largest that fit into memory")
    group.add_argument("--ensemble", action="store_true",
                       help="average what the network makes of the frames and of their seven mirrored and turned "
                            "twins: 0.1 to 0.5 dB better, and eight times the work")
    group.add_argument("--back_projections", type=int, metavar="N",
                       help="correct the output N times where it, blurred by the estimated kernel and downsampled, "
                            "differs from the input: good for clean frames, and harmful to noisy or encoded ones "
                            "(default: 3 with the weights clean, else 0)")
    group.add_argument("--cuts", choices=("auto", "off"), default="auto",
                       help="auto (default) finds cuts, so that no frame is restored with the help of another shot's; "
                            "off takes the whole video for one shot")
    group.add_argument("--precision", choices=("auto", "32", "bf16", "16"), default="auto",
                       help="precision of the network's numbers; auto (default) takes the fastest that the device has "
                            "and that costs less than 0.05 dB")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                       help="where the network runs; auto (default) takes a CUDA device if there is one")


def _video_arguments(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--pix_fmt", choices=("yuv420p", "yuv420p10le"),
                       help="pixel format of the video, by FFmpeg's name: yuv420p (default but for GIF) has 8 bits and "
                            "every player takes it, yuv420p10le keeps 10 bits, and what HDR video says of itself")
    group.add_argument("--deinterlace", choices=("auto", "off"), default="auto",
                       help="make whole frames of interlaced video (default auto: where its frames are flagged so)")
    group.add_argument("--codec", metavar="NAME",
                       help="video encoder, by FFmpeg's name (default: libx264 for .mp4, .mkv and .mov, libvpx-vp9 for "
                            ".webm)")
    group.add_argument("--crf", type=float, metavar="N",
                       help="constant rate factor of the video encoder: lower is better and larger (default: one "
                            "without visible loss, 17 for libx264)")
    group.add_argument("--sound", choices=("copy", "aac", "none"), default="copy",
                       help="copy the sound (default; as AAC what the output cannot hold), encode all of it as AAC, or "
                            "leave it out")
    group.add_argument("--fps", type=_rate,
                       help="frames per second of a folder of images (default 25) or a raw stream like .h264 (default: "
                            "what it says itself), like 25 or 30000/1001; other videos have times of their own")
