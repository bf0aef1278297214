"""python -m jittor_port.infer: restores videos with Jittor, and compares them with ground truth where there is one."""

import argparse
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jittor_port import InputError, environment
from jittor_port.progress import progress
from jittor_port.signals import Stopped, listen, listening

# whatever imports Jittor is imported after `environment.prepare`, inside the functions
if TYPE_CHECKING:
    from jittor_port.frames import Video
    from jittor_port.network import BlindVSR
    from jittor_port.report import Summary

SMALLEST_TILE = 32
LOG, SUMMARY = "inference.log", "summary.json"  # beside the results

log = logging.getLogger("jittor_port")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    result = argparse.ArgumentParser(prog="python -m jittor_port.infer", description=__doc__)
    result.add_argument("--weights", type=Path, required=True,
                        help="what `blindvsr export` wrote (.safetensors), or an older port's pickle of arrays (.pkl)")
    result.add_argument("--input", type=Path, required=True, help="video file, folder of images, folder of such "
                        "folders, or a data set with LR_blurdown_x4/")
    result.add_argument("--output", type=Path, required=True,
                        help="folder for the restored frames (<video>/<frame>.png), a log and a summary")
    result.add_argument("--gt", type=Path, help="ground truth in the same layout (or with HR/): adds PSNR and SSIM")
    result.add_argument("--dataset", default="", help="name of the data set; results go into OUTPUT/<dataset>_<kind>/")
    result.add_argument("--kind", default="", help="kind of blur kernels, gaussian or realistic: the rest of that name")
    result.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                        help="where the network runs (default: cuda where there is a device)")
    result.add_argument("--tile", type=_tile, help="side of the parts that frames are restored in, pixels of input, "
                        "to save memory (default: whole frames)")
    result.add_argument("--cuts", choices=("auto", "off"), default="auto", help="auto (default) finds cuts, so that no "
                        "frame is restored with the help of another shot's; off takes every video for one shot")
    result.add_argument("--overwrite", action="store_true", help="replace the results of an earlier run")
    return result


def _tile(text: str) -> int:
    if not text.isdigit() or int(text) < SMALLEST_TILE:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of at least {SMALLEST_TILE}")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        with listening():
            run(options)
        return 0
    except InputError as error:
        message, code = str(error), 1
    except Stopped as stopped:
        message, code = f"{stopped}; videos that were complete are kept", stopped.code
    except OSError as error:  # a full disk, say
        where = f"{error.filename}: " if error.filename else ""
        message, code = f"{where}{error.strerror or error}; the videos that were complete are kept", 1
    except MemoryError:
        message, code = f"out of memory; try a smaller --tile than {options.tile or 'the whole frame'}", 1
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


def run(options: argparse.Namespace) -> None:
    """Restores everything at `options.input`.

    Raises:
        InputError: for whatever is wrong with the options, the files or the installation.
    """
    from jittor_port.frames import HR_FOLDER, LR_FOLDER, find_videos
    from jittor_port.outputs import check_outputs, input_places
    from jittor_port.report import Summary, match
    from jittor_port.weights import read_weights

    # everything that can be wrong with files is found before Jittor starts, which may take minutes
    videos = find_videos(options.input, "--input", LR_FOLDER)
    truths = match(videos, find_videos(options.gt, "--gt", HR_FOLDER)) if options.gt else {}
    folder = options.output / "_".join(name for name in (options.dataset, options.kind) if name)
    arrays, config = read_weights(options.weights)
    folders, files = [folder / video.name for video in videos], [folder / LOG, folder / SUMMARY]
    inputs = [*input_places(videos), *input_places(list(truths.values())), options.weights]
    check_outputs(folders, files, inputs, options.overwrite)
    facts = start_jittor(options.device)
    from jittor_port.network import BlindVSR

    net = BlindVSR(arrays, config, options.weights)
    summary = Summary(facts | {"weights": str(options.weights), "input": str(options.input)})
    with _logging_to(folder / LOG):
        log.info("%s", summary.facts)
        for video in videos:
            _restore_video(net, video, truths.get(video.name), folder, summary, options)
        summary.write(folder / SUMMARY)
        log.info("\n%s", summary.table())
    print(summary.table())


class _LogFile(logging.FileHandler):
    """What cannot be written ends the job in one line, and not in a traceback beside it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        raise


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Messages of the log go into a new file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = _LogFile(path, mode="w")
    except OSError as error:
        raise InputError(f"--output {path.parent}: cannot write there: {error.strerror or error}") from error
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    try:
        yield
    finally:
        log.removeHandler(handler)
        with suppress(OSError):  # said already
            handler.close()


def start_jittor(device: str) -> dict[str, Any]:
    """Imports Jittor, once everything it needs is in place, and says what it runs on.

    Args:
        device: auto, cpu or cuda.

    Returns:
        Device and versions, for the summary.

    Raises:
        InputError: if Jittor cannot work here, or not on this device.
    """
    environment.check()
    wanted = device != "cpu" and environment.has_cuda_device()
    if device == "cuda" and not wanted:
        raise InputError("--device cuda: there is no NVIDIA device here; use --device cpu")
    environment.prepare(wanted)
    if not environment.is_compiled():
        print("Jittor compiles itself on its first run with this compiler and Python: 2 to 8 minutes, once; "
              "then its kernels for the network, another minute", file=sys.stderr, flush=True)
    started = time.perf_counter()
    try:
        import jittor as jt
    except Exception as error:  # it raises whatever its compiler or loader says
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(f"Jittor cannot start: {lines[-1][:200]}; delete .cache/jittor in the home folder (or in "
                         "JITTOR_HOME) and try again; where that cannot be written, set JITTOR_HOME to a folder that "
                         "can") from error
    listen()  # once more: Jittor's own handler of Ctrl-C ends the process with nothing cleared up
    if device == "cuda" and not jt.has_cuda:
        raise InputError("--device cuda: Jittor found no CUDA compiler; set nvcc_path, or use --device cpu")
    jt.flags.use_cuda = int(bool(wanted and jt.has_cuda))
    facts = environment.describe(bool(jt.flags.use_cuda))
    print(", ".join(f"{name} {value}" for name, value in facts.items())
          + f" (Jittor started in {time.perf_counter() - started:.1f} s)", flush=True)
    if facts["convolutions"] == "numpy":
        print(f"oneDNN is not installed, convolutions take about twice as long: pip install {environment.ONEDNN}",
              file=sys.stderr, flush=True)
    return facts


def _restore_video(net: "BlindVSR", video: "Video", truth: "Video | None", folder: Path, summary: "Summary",
                   options: argparse.Namespace) -> None:
    """Restores one video into its folder and adds it to the summary."""
    import jittor as jt

    from jittor_port.frames import write_image
    from jittor_port.outputs import whole_folder
    from jittor_port.report import Scorer
    from jittor_port.stream import Clock, restore, warm_up

    _, first = next(video.frames())
    jt.gc()  # what a video of another size has left
    warm_up(net, first, options.tile)
    clock, scorer, number = Clock(), Scorer(truth) if truth else None, 0
    bar = progress(total=video.length or None, desc=video.name, unit=" frame")
    with whole_folder(folder / video.name) as target, bar:
        for name, frame in restore(net, video.frames(), clock, options.tile, options.cuts == "auto"):
            with clock.step("post"):
                write_image(target / f"{name}.png", frame)
            if scorer:
                scorer.add(frame)
            number += 1
            taken = clock.frame_done()
            log.info("%s/%s: %s", video.name, name, ", ".join(f"{step} {s:.4f} s" for step, s in taken.items()))
            bar.update()
        if scorer:
            summary.scores[video.name] = scorer.values()
    summary.timing[video.name] = {step: total / number for step, total in clock.total.items()} | {"frames": number}


if __name__ == "__main__":
    sys.exit(main())
