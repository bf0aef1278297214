"""The command `blindvsr`: training and data sets through LightningCLI, and the plain tools around them."""

import argparse
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from blindvsr import InputError, __version__, terminal
from blindvsr.outputs import OutputExists, OutputGuard
from blindvsr.scoring import command as score
from blindvsr.signals import Stopped, listening
from blindvsr.upscale import command as upscale, options as upscale_options

LIGHTNING = {
    "fit": "train on footage: blindvsr fit --config configs/gaussian.yaml --data.train_root DIR",
    "validate": "validate a checkpoint: blindvsr validate --config FILE --ckpt_path FILE --data.val_root DIR",
    "test": "restore and score a test set: blindvsr test --config FILE --ckpt_path FILE --data.test_root DIR",
    "predict": "restore folders of videos: blindvsr predict --config FILE --ckpt_path FILE --data.predict_root DIR",
}
FORMATS = {"safetensors": ".safetensors", "onnx": ".onnx"}  # of export, and their endings


def _overwrite_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace what stands where the output goes")


DEGRADE = """\
examples:
  blindvsr degrade --hr Vid4 --out build/vid4 --kind gaussian
  blindvsr degrade --hr REDS --out build/reds4 --kind realistic --videos 000 011 015 020
  blindvsr degrade --hr Vid4 --out build/hard --kind gaussian --noise 5 --codec libx264 --crf 23"""


def _degrade_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hr", type=Path, required=True, metavar="DIR",
                        help="high-resolution videos: HR/<video>/<frame>.png, Vid4, SPMCS, REDS, one folder of frames, "
                             "or video files")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR",
                        help="folder for the test set, which gets HR/, LR_blurdown_x4/ and kernel/")
    parser.add_argument("--kind", choices=("gaussian", "realistic", "mixed"), required=True,
                        help="blur kernels: the same Gaussian for all videos; a random realistic one for each; or for "
                             "each a random one that is Gaussian, realistic or plain decimation (mixed)")
    parser.add_argument("--sigma", type=float, default=1.2,
                        help="standard deviation of the Gaussian kernel, HR pixels (default: %(default)s)")
    parser.add_argument("--noise", type=float, default=0, metavar="LEVELS",
                        help="standard deviation of Gaussian noise after the blur, levels of 255 (default: none)")
    parser.add_argument("--codec", choices=("libx264", "libx265", "mpeg4", "mpeg2video", "jpeg"),
                        help="encode the LR frames: encoded/ gets the files, LR_blurdown_x4/ what is decoded of them")
    parser.add_argument("--crf", "--quality", type=int, dest="quality", metavar="N",
                        help="quality of --codec: constant rate factor (libx264, libx265: 0 to 51), quantiser (mpeg4, "
                             "mpeg2video: 1 to 31) or quality (jpeg: 1 to 100) (default: 23)")
    parser.add_argument("--preset", default="medium", help="preset of libx264 and libx265 (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0,
                        help="seed of the random kernels and of the noise (default: %(default)s)")
    parser.add_argument("--videos", nargs="+", default=(), metavar="NAME",
                        help="take only these videos (default: all)")
    _overwrite_argument(parser)


def _degrade(arguments: argparse.Namespace) -> int:
    if arguments.quality is not None and not arguments.codec:
        raise InputError(f"--crf {arguments.quality}: nothing is encoded; give --codec too, or leave --crf out")
    from blindvsr.testset import Recipe, make_test_set

    recipe = Recipe(arguments.kind, arguments.sigma, arguments.seed, arguments.noise, arguments.codec,
                    23 if arguments.quality is None else arguments.quality, arguments.preset)
    make_test_set(arguments.hr, arguments.out, recipe, arguments.videos, arguments.overwrite)
    return 0


EXPORT = """\
examples:
  blindvsr export --checkpoint runs/tiny/lightning_logs/version_0/checkpoints/best.ckpt --out net.safetensors
  blindvsr export --checkpoint net.safetensors --out net.onnx"""


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE",
                        help="weights to read: a checkpoint of a training (.ckpt), the official file (.pt), an older "
                             "port's pickle of arrays (.pkl), or an exported file (.safetensors)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE",
                        help="the file to write, ending in .safetensors or .onnx")
    parser.add_argument("--format", choices=tuple(FORMATS), help="format of the file (default: by the ending of --out)")
    parser.add_argument("--dtype", choices=("float32", "float16"), default="float32",
                        help="numbers in a safetensors file; an ONNX file is float32 (default: %(default)s)")
    _overwrite_argument(parser)


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
    OutputGuard([arguments.checkpoint], arguments.overwrite).check(arguments.out, name="--out")
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


@dataclass(frozen=True)
class Tool:
    """A plain command.

    Attributes:
        summary: what it does, for the list of commands.
        examples: shown below its help.
        add_arguments: adds its options; imports nothing heavy, so that help is quick.
        run: does the work and returns the exit code. It refuses outputs before the work. What the library says of
            `parameter=value` becomes `--parameter value`.
    """

    summary: str
    examples: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


TOOLS = {
    "upscale": Tool("restore a video file or a folder of images at four times its size", upscale_options.EXAMPLES,
                    upscale_options.add_arguments, upscale.run),
    "degrade": Tool("make a test set: blur and downsample videos, and keep the kernels", DEGRADE,
                    _degrade_arguments, _degrade),
    "score": Tool("compare restored videos with ground truth: PSNR and SSIM", score.EXAMPLES,
                  score.add_arguments, score.run),
    "export": Tool("write the weights of a network as safetensors, or the whole network as ONNX", EXPORT,
                   _export_arguments, _export),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("blindvsr", description="Blind video super-resolution, four times larger.")
    parser.add_argument("--version", action="version", version=f"blindvsr {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, text in LIGHTNING.items():
        commands.add_parser(name, help=text, add_help=False)
    for name, tool in TOOLS.items():
        tool.add_arguments(commands.add_parser(
            name, help=tool.summary, description=f"{tool.summary[0].upper()}{tool.summary[1:]}.", epilog=tool.examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        ))
    return parser


def _run(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] in LIGHTNING:
        from blindvsr.lit.command import run

        run(arguments)
        return 0
    if not arguments:
        _parser().print_help()
        return 0
    parsed = _parser().parse_args(arguments)
    return TOOLS[parsed.command].run(parsed)


def _one_line(error: InputError, command: str) -> str:
    """What the user of a command is told of an error of the library."""
    # a loader's worker process wraps the message in its own traceback
    text = " ".join(str(error).rsplit("InputError: ", 1)[-1].split())
    if isinstance(error, OutputExists):
        option = {"predict": "--writer.overwrite true", "test": "--report.overwrite true"}.get(command, "--overwrite")
        return f"{text}, or replace it with {option}"
    if command in TOOLS:
        return re.sub(r"^([a-z]\w*)=", r"--\1 ", text)
    # of the parts that LightningCLI builds, and of their own parts
    text = re.sub(r"^disturbance\.", "data.disturbance.", re.sub(r"^network\.", "model.network.", text))
    return re.sub(r"^((?:data|model|writer|report)\.[\w.]+)(?=[=: ])", r"--\1", text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `blindvsr ARGUMENTS`.

    Returns:
        0. A user's mistake ends in SystemExit(1) after one line on stderr, a signal in 128 and its number.
    """
    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    arguments = sys.argv[1:] if arguments is None else arguments
    terminal.prepare()
    try:
        with listening():
            code = _run(arguments)
        terminal.close_output()
        return code
    except InputError as error:
        print(f"blindvsr: error: {terminal.printable(_one_line(error, arguments[0]))}", file=sys.stderr)
        raise SystemExit(1) from None
    except Exception as error:
        if (said := terminal.reason(error)) is None:
            raise
        print(f"blindvsr: error: {terminal.printable(said)}", file=sys.stderr)
        raise SystemExit(1) from None
    except Stopped as stopped:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # of several processes, one says it
            print(f"blindvsr: {stopped}", file=sys.stderr)
        raise SystemExit(stopped.code) from None


if __name__ == "__main__":
    sys.exit(main())
