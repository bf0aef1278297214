"""What `blindvsr fit|validate|test|predict --help` says beside the options, which their docstrings describe."""

import textwrap
from typing import Any

from jsonargparse import DefaultHelpFormatter

RUN = "runs/gaussian/lightning_logs/version_0"
TEXTS = {
    "fit": (
        "Train a network on footage. High-resolution frames are blurred and reduced on the fly, and the network learns "
        "from the low-resolution clips; --model.objective says what exactly. Options come from YAML files (--config, "
        "several if need be) and from flags, which win. The run, with its curves, config.yaml and the checkpoints best "
        "and last, goes to trainer.default_root_dir. A signal stops it after a whole checkpoint; --ckpt_path last goes "
        "on from there.",
        """\
  blindvsr fit --config configs/tiny.yaml --data.train_root VIDEOS
  blindvsr fit --config configs/gaussian.yaml --data.train_root REDS --model.flow_weights network-default.pytorch
  blindvsr fit --config configs/tiny.yaml --data.train_root VIDEOS --ckpt_path last --trainer.max_epochs 12""",
    ),
    "validate": (
        "Measure a checkpoint, or other weights, on the videos of --data.val_root as a training does after each epoch.",
        f"""\
  blindvsr validate --config {RUN}/config.yaml --ckpt_path {RUN}/checkpoints/best.ckpt --data.val_root VIDEOS""",
    ),
    "test": (
        "Restore the videos of a test set, compare them with the truth, and print the table of PSNR and SSIM; the "
        "same as JSON and CSV lies beside the checkpoint afterwards.",
        """\
  blindvsr test --model.weights clean --data.test_root build/vid4
  blindvsr test --config configs/gaussian.yaml --ckpt_path best --data.test_root build/vid4
  blindvsr test --model.weights clean --data.test_root build/vid4 --report.html build/scores.html""",
    ),
    "predict": (
        "Restore every video of a folder, four times larger, as folders of PNG frames below --writer.output. For one "
        "video, blindvsr upscale is simpler.",
        """\
  blindvsr predict --model.weights clean --data.predict_root VIDEOS --writer.output restored""",
    ),
}


class Formatter(DefaultHelpFormatter):
    """Keeps the lines of the examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "".join(f"{indent}{line}\n" for line in text.splitlines())


def parser_options(command: str) -> dict[str, Any]:
    """How the parser of one command is made."""
    description, examples = TEXTS[command]
    description = textwrap.fill(description, 100)
    return {"exit_on_error": False, "description": description, "epilog": f"examples:\n{examples}",
            "usage": f"blindvsr {command} [--config FILE] [options]"}
