"""From one video file to a trained network and restored frames: what `make demo` runs.

The bundled clip is blurred and downsampled; the tiny network learns for a few minutes from degraded versions of it,
never seeing the truth; the clip is restored, scored, and put side by side with its input, bicubic and the truth.
"""

from pathlib import Path

import cv2
import numpy as np
from skimage.io import imsave

from blindvsr.cli import main
from blindvsr.degrade import bicubic_up
from blindvsr.frames import Frame, read_image
from blindvsr.metrics import psnr

HERE = Path(__file__).parent
OUT = HERE.parent / "build" / "demo"
CLIP = "bigbuckbunny"
FRAME = "00000030.png"
TOP, LEFT, HEIGHT, WIDTH = 100, 240, 480, 400  # the part that is shown, HR pixels


def run(*arguments: object) -> None:
    print("\n$ blindvsr", *arguments, flush=True)
    main([str(argument) for argument in arguments])


def panel(frame: Frame, caption: str) -> Frame:
    """The shown part of a frame, with a caption below."""
    strip = np.zeros((32, WIDTH, 3), np.uint8)
    cv2.putText(strip, caption, (8, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 1, cv2.LINE_AA)
    return np.vstack((frame[TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH], strip))


def comparison(test_set: Path, restored: Path) -> Frame:
    """Input, aligned bicubic, restored and truth of one frame, side by side, with the PSNR of each."""
    low = read_image(test_set / "LR_blurdown_x4" / CLIP / FRAME)
    truth = read_image(test_set / "HR" / CLIP / FRAME)
    frames = {
        "input, pixels repeated": np.kron(low, np.ones((4, 4, 1), np.uint8)),
        "bicubic": bicubic_up(low),
        "restored": read_image(restored / CLIP / FRAME),
    }
    captions = {name: f"{name}: {psnr(frame, truth):.2f} dB" for name, frame in frames.items()}
    print("\nframe 30:", "; ".join(captions.values()))
    return np.hstack([panel(frame, captions[name]) for name, frame in frames.items()] + [panel(truth, "truth")])


def demo() -> None:
    test_set, runs, restored = OUT / "set", OUT / "run", OUT / "restored"
    config = HERE.parent / "configs" / "tiny.yaml"
    run("degrade", "--hr", HERE / f"{CLIP}.mp4", "--out", test_set, "--kind", "gaussian", "--overwrite")
    run("fit", "--config", config, "--data.train_root", test_set, "--data.cache", OUT / "cache",
        "--trainer.default_root_dir", runs, "--trainer.max_epochs", 4, "--model.halve_every", 2)
    run("predict", "--config", config, "--ckpt_path", "last", "--data.predict_root", test_set,
        "--trainer.default_root_dir", runs, "--writer.output", restored)
    run("score", "--sr", restored, "--gt", test_set)
    picture = OUT / "comparison.png"
    imsave(picture, comparison(test_set, restored), check_contrast=False)
    print(f"side by side: {picture.relative_to(Path.cwd()) if picture.is_relative_to(Path.cwd()) else picture}")
    print(f"curves and pictures of the training: {Path('.venv/bin/tensorboard')} --logdir {runs}")


if __name__ == "__main__":
    demo()
