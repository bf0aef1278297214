"""Hands mutants of files to a reader, in a process of its own with little memory: python -m tests.hostile.reader.

Each mutant ends well, in an InputError, or is reported. One that takes over 10 s or crashes ends the process; the file
`at` in the folder says which it was.
"""

import contextlib
import io
import json
import os
import random
import resource
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

MEMORY = 6 * 2**30  # bytes of address space: torch's libraries alone take 3
PATIENCE = 10  # seconds of processor time: other programs may have the machine
NUMBERS = (b"\x00", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", bytes(4), b"\xff\xff\xff\x7f", b"\xe9")


def mutant(content: bytes, seed: int) -> bytes:
    """A damaged copy: cut, bytes changed, numbers made absurd, parts repeated, exchanged or left out."""
    rng, changed = random.Random(seed), bytearray(content)
    head = min(len(changed), 4096)  # where the structure is described, more often than not
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        place = rng.randrange(head if rng.random() < 0.6 else max(1, len(changed)))
        kind, length = rng.randrange(8), rng.choice((1, 4, 40, 400))
        if kind == 0 and rng.random() < 0.3:
            del changed[place:]
        elif kind == 1:
            del changed[place : place + length]
        elif kind == 2:
            changed[place:place] = changed[place : place + length]
        elif kind == 3:
            changed[place : place + length] = rng.randbytes(length)
        elif kind < 6:
            number = rng.choice(NUMBERS)
            changed[place : place + len(number)] = number
        elif changed:
            changed[place % len(changed)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def read_image(path: Path) -> None:
    """All that is done with an image."""
    from blindvsr import frames
    from blindvsr.video.source import open_source
    from jittor_port.frames import find_videos

    for read in (frames.image_size, frames.read_image, lambda path: list(open_source(path, 25).timed()),
                 lambda path: list(find_videos(path.parent, "--input", "LR_blurdown_x4")[0].frames())):
        both(read, path)


def read_video(path: Path) -> None:
    """The whole way of a video, its sound included, and the port's decoder."""
    from blindvsr.cli import main
    from jittor_port.frames import find_videos

    weights = path.parent.parent / "small.safetensors"
    both(lambda path: list(find_videos(path, "--input", "LR_blurdown_x4")[0].frames()), path)
    main(["upscale", str(path), str(path.parent / "out.mkv"), "--weights", str(weights), "--overwrite"])


def read_weights(path: Path) -> None:
    """Both packages' readers."""
    from blindvsr.weights import load_network
    from jittor_port import weights

    both(load_network, path)
    both(weights.read_weights, path)


def read_settings(path: Path) -> None:
    """A configuration of a training, up to where its footage is looked for."""
    from blindvsr.cli import main

    main(["fit", "--config", str(path), "--data.train_root", str(path.parent / "none")])


def both(read: Callable[[Path], object], path: Path) -> None:
    """Lets a reader refuse a file."""
    from blindvsr import InputError
    from jittor_port import InputError as PortError

    with contextlib.suppress(InputError, PortError):
        read(path)


READERS = {".png": read_image, ".jpg": read_image, ".tif": read_image, ".webp": read_image, ".mp4": read_video,
           ".mkv": read_video, ".mov": read_video, ".avi": read_video, ".safetensors": read_weights,
           ".pt": read_weights, ".ckpt": read_weights, ".pkl": read_weights, ".yaml": read_settings}


def try_mutant(seed_file: Path, number: int, folder: Path) -> str | None:
    """What is wrong with how a mutant was read, or None."""
    path = folder / f"x{seed_file.suffix}"
    path.write_bytes(mutant(seed_file.read_bytes(), number))
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said), warnings.catch_warnings():
            READERS[seed_file.suffix](path)
    except SystemExit as stopped:
        lines = [line for line in said.getvalue().replace("\r", "\n").splitlines() if "error:" in line]
        if stopped.code not in (0, 1, 2, 3) or len(lines) > 1 or "Traceback" in said.getvalue():
            return f"exit {stopped.code}: {said.getvalue()[-200:]}"
    except Exception as error:
        import traceback

        where = [frame for frame in traceback.extract_tb(error.__traceback__) if "/blindvsr/" in frame.filename
                 or "/jittor_port/" in frame.filename]
        last = where[-1] if where else None
        place = f"{Path(last.filename).name}:{last.lineno}" if last else "elsewhere"
        return f"{type(error).__name__} at {place}: {error!s:.100}"
    return None


def main() -> None:
    """Arguments: the file, the folder for mutants, the number of the first mutant and of the one after the last."""
    seed_file, folder, first, stop = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.chdir(folder)
    (folder / f"x{seed_file.suffix}").write_bytes(seed_file.read_bytes())
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        READERS[seed_file.suffix](folder / f"x{seed_file.suffix}")  # imports everything
    for number in range(first, stop):
        (folder.parent / f"at{seed_file.suffix}").write_text(str(number))
        signal.setitimer(signal.ITIMER_PROF, PATIENCE)
        signal.alarm(12 * PATIENCE)  # one that waits takes no processor time
        wrong = try_mutant(seed_file, number, folder)
        if wrong:
            print(json.dumps([number, wrong]), flush=True)


if __name__ == "__main__":
    main()
