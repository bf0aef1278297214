"""The command `blindvsr`: training and data sets through LightningCLI, and the plain tools around them."""

import argparse
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from blindvsr import InputError, __version__
from blindvsr.upscale import command as upscale

LIGHTNING = {
    "fit": "train on footage: blindvsr fit --config configs/gaussian.yaml --data.train_root DIR",
    "validate": "validate a checkpoint: blindvsr validate --config FILE --ckpt_path FILE --data.val_root DIR",
    "test": "restore and score a test set: blindvsr test --config FILE --ckpt_path FILE --data.test_root DIR",
    "predict": "restore folders of videos: blindvsr predict --config FILE --ckpt_path FILE --data.predict_root DIR",
}
FORMATS = {"safetensors": ".safetensors", "onnx": ".onnx"}  # of export, and their endings


def _degrade_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hr", type=Path, required=True, help="HR videos: folders of frames in any known layout")
    parser.add_argument("--out", type=Path, required=True, help="gets HR/, LR_blurdown_x4/ and kernel/")
    parser.add_argument("--kind", choices=("gaussian", "realistic", "mixed"), required=True,
                        help="blur kernels: one Gaussian for all videos, or a random one for each")
    parser.add_argument("--sigma", type=float, default=1.2,
                        help="standard deviation of the Gaussian kernel, HR pixels (default: %(default)s)")
    parser.add_argument("--noise", type=float, default=0, metavar="LEVELS",
                        help="standard deviation of Gaussian noise after the blur, levels of 255 (default: none)")
    parser.add_argument("--codec", choices=("libx264", "libx265", "mpeg4", "mpeg2video", "jpeg"),
                        help="encode the LR frames: encoded/ gets the files, LR_blurdown_x4/ what is decoded of them")
    parser.add_argument("--crf", "--quality", type=int, default=23, dest="quality", metavar="N",
                        help="quality of --codec: constant rate factor (libx264, libx265: 0 to 51), quantiser (mpeg4, "
                        "mpeg2video: 1 to 31) or quality (jpeg: 1 to 100) (default: %(default)s)")
    parser.add_argument("--preset", default="medium", help="preset of libx264 and libx265 (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0,
                        help="seed of the random kernels and of the noise (default: %(default)s)")
    parser.add_argument("--videos", nargs="+", default=(), metavar="NAME", help="only these, e.g. 000 011 015 020")
    parser.add_argument("--overwrite", action="store_true", help="replace videos that --out has already")


def _degrade(arguments: argparse.Namespace) -> int:
    from blindvsr.testset import Recipe, make_test_set

    recipe = Recipe(arguments.kind, arguments.sigma, arguments.seed, arguments.noise, arguments.codec,
                    arguments.quality, arguments.preset)
    make_test_set(arguments.hr, arguments.out, recipe, arguments.videos, arguments.overwrite)
    return 0


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", type=Path, required=True, help="Lightning .ckpt, official .pt, or legacy .pkl")
    parser.add_argument("--out", type=Path, required=True, help="the file to write, ending in .safetensors or .onnx")
    parser.add_argument("--format", choices=tuple(FORMATS), help="(default: by the ending of --out)")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32",
                        help="of safetensors; ONNX is float32 (default: %(default)s)")


def _export_format(arguments: argparse.Namespace) -> str:
    endings = {name: ending for name, ending in FORMATS.items() if arguments.format in (None, name)}
    for name, ending in endings.items():
        if arguments.out.suffix == ending:
            if name == "onnx" and arguments.dtype != "float32":
                raise InputError(f"--dtype {arguments.dtype}: an ONNX file is float32; leave --dtype out")
            return name
    wanted = f" for --format {arguments.format}" if arguments.format else ""
    raise InputError(f"--out {arguments.out}: the exported file must end in {' or '.join(endings.values())}{wanted}")


def _export(arguments: argparse.Namespace) -> int:
    format = _export_format(arguments)
    import torch

    from blindvsr.weights import load_network, save_network

    net = load_network(arguments.checkpoint)
    check = ""
    if format == "onnx":
        from blindvsr.export import save_onnx

        check = f", within {save_onnx(net, arguments.out):.1e} of torch"
    else:
        save_network(net, arguments.out, getattr(torch, arguments.dtype))
    count = sum(parameter.numel() for parameter in net.parameters())
    size = arguments.out.stat().st_size / 1e6
    print(f"{arguments.out}: {count:,} parameters, {arguments.dtype}, {size:.1f} MB{check}")
    return 0


def _score_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sr", type=Path, required=True, help="results: <video>/<frame>.png")
    parser.add_argument("--gt", type=Path, required=True, help="ground truth, likewise")
    parser.add_argument("--all_frames", action="store_true", help="score the first and last two frames too")
    parser.add_argument("--json", type=Path, help="write the table as JSON here, and as CSV beside it")


def _score(arguments: argparse.Namespace) -> int:
    from blindvsr.scoring import score_folders, table, write_summary

    summary = score_folders(arguments.sr, arguments.gt, arguments.all_frames)
    print(table(summary))
    if arguments.json:
        write_summary(summary, arguments.json)
    return 0


Tool = tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]
TOOLS: dict[str, Tool] = {
    "upscale": ("restore a video file or a folder of images", upscale.add_arguments, upscale.run),
    "degrade": ("make a test set: blur, downsample, keep the kernels", _degrade_arguments, _degrade),
    "score": ("PSNR and SSIM of a folder of results", _score_arguments, _score),
    "export": ("write weights as safetensors, or the network as ONNX", _export_arguments, _export),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("blindvsr", description="Blind video super-resolution, four times larger.")
    parser.add_argument("--version", action="version", version=f"blindvsr {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in LIGHTNING.items():
        commands.add_parser(name, help=text, add_help=False)
    for name, (text, add_arguments, _) in TOOLS.items():
        add_arguments(commands.add_parser(name, help=text, description=text))
    return parser


def _run(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] in LIGHTNING:
        from blindvsr.lit.command import run

        run(arguments)
        return 0
    parsed = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # unwinds, so that no temporary file is left
    return TOOLS[parsed.command][2](parsed)


def _one_line(error: InputError) -> str:
    # a loader's worker process wraps the message in its own traceback
    return " ".join(str(error).rsplit("InputError: ", 1)[-1].split())


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `blindvsr ARGUMENTS`.

    Returns:
        0. A user's mistake ends in SystemExit(1) after one line on stderr.
    """
    # Threads that wait by sleeping: libgomp's default of spinning slows everything many times over on a machine that
    # has anything else to do.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except InputError as error:
        print(f"blindvsr: error: {_one_line(error)}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # of several processes, one says it
            print("blindvsr: interrupted", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    sys.exit(main())
