"""The bundled clip restored with the bundled model: what `make demo` runs.

The clip is blurred and downsampled, restored without a word about the blur, scored, and put beside its input, bicubic
and the truth: one frame as a picture, all of them as a video.
"""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from skimage.io import imsave

from blindvsr.cli import main
from blindvsr.degrade import bicubic_up
from blindvsr.frames import Frame, image_files, read_image
from blindvsr.metrics import psnr
from blindvsr.video.timing import constant
from blindvsr.video.writer import write_video

HERE = Path(__file__).parent
OUT = HERE.parent / "build" / "demo"
CLIP = "bigbuckbunny"
FRAME = "00000030.png"
RATE = Fraction(24)
TOP, LEFT, HEIGHT, WIDTH = 100, 240, 480, 400  # the part that is shown, HR pixels
STRIP = 32  # below it, for a caption

TRUTH = OUT / "set" / "HR" / CLIP
LOW = OUT / "set" / "LR_blurdown_x4" / CLIP
RESTORED = OUT / "restored" / CLIP


def run(*arguments: object) -> None:
    print("\n$ blindvsr", *arguments, flush=True)
    main([str(argument) for argument in arguments])


def panels(name: str) -> dict[str, Frame]:
    """The versions of one frame."""
    low = read_image(LOW / name)
    return {
        "input, pixels repeated": np.kron(low, np.ones((4, 4, 1), np.uint8)),
        "bicubic": bicubic_up(low),
        "restored": read_image(RESTORED / name),
        "truth": read_image(TRUTH / name),
    }


def row(frames: dict[str, Frame]) -> Frame:
    """The shown part of frames side by side, with their captions below."""
    shown = []
    for caption, frame in frames.items():
        strip = np.zeros((STRIP, WIDTH, 3), np.uint8)
        cv2.putText(strip, caption, (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1, cv2.LINE_AA)
        shown.append(np.vstack((frame[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH], strip)))
    return np.hstack(shown)


def picture() -> Path:
    """One frame with the PSNR of each version."""
    frames = panels(FRAME)
    truth = frames.pop("truth")
    scored = {f"{name}: {psnr(frame, truth):.2f} dB": frame for name, frame in frames.items()}
    print("\nframe 30:", "; ".join(scored))
    path = OUT / "comparison.png"
    imsave(path, row({**scored, "truth": truth}), check_contrast=False)
    return path


def video() -> Path:
    """All frames: bicubic on the left, restored on the right."""
    path = OUT / "side_by_side.mp4"
    timing = constant(RATE)
    with write_video(path, (HEIGHT + STRIP, 2 * WIDTH), timing) as writer:
        for index, file in enumerate(image_files(LOW)):
            frames = panels(file.name)
            pair = row({name: frames[name] for name in ("bicubic", "restored")})
            writer.write(pair, index * timing.frame_ticks)
    return path


def demo() -> None:
    run("degrade", "--hr", HERE / f"{CLIP}.mp4", "--out", OUT / "set", "--kind", "gaussian", "--overwrite")
    run("upscale", LOW, RESTORED, "--save_kernel", OUT / "kernel.mat", "--overwrite")
    run("score", "--sr", RESTORED.parent, "--gt", OUT / "set")
    for path in (picture(), video()):
        print("side by side:", path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


if __name__ == "__main__":
    demo()
