"""Every measurement that needs a GPU, in one run and within a budget of seconds.

    python benchmarks/gpu.py --budget 150 --out build/gpu
    python benchmarks/gpu.py --budget 600 --out build/gpu --data DIR     # and trains the bundled model in what is left
    python benchmarks/gpu.py --device cpu --budget 60 --out build/gpu    # tries all of it out, at small sizes

Writes gpu.json and gpu.md, a table, into the folder, anew after every measurement. Each part is a process of its own
that is stopped when its share of what is left of the budget is over: what fails, hangs or breaks the device's context
harms no other part. Ratios are to the first measurement of the same kind. Needs neither PyAV nor jsonargparse, but
PyAV to train: the clips are encoded.
"""

import argparse
import gc
import json
import math
import multiprocessing
import os
import platform
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

START = time.monotonic()  # what follows takes seconds to import, and they count

import blindvsr  # noqa: E402, F401  before torch: its threads then wait by sleeping
import gpu_checks  # noqa: E402
import gpu_speed  # noqa: E402
import gpu_train  # noqa: E402
import torch  # noqa: E402
from gpu_setting import BUNDLED, Case, Row, Setting  # noqa: E402

from blindvsr.ops.cost_volume import VARIABLE  # noqa: E402


def training_run(setting: Setting) -> Iterator[Case]:
    """Trains the bundled model on, for what is left of the time, into the folder `trained`."""
    def train() -> Row:
        if setting.data is None:
            return {"skipped": "give --data with a folder of footage"}
        options = [f"--data={setting.data}", f"--init={BUNDLED}", f"--out={setting.out / 'trained'}"]
        if setting.rehearsal:
            options += ["--device=cpu", "--steps=2", "--batch=2", "--patch=32", "--workers=1", "--ring=8"]
        seconds = max(1.0, 0.85 * setting.left() - 10)  # clips have to be made first
        gpu_train.main([*options, f"--seconds={seconds}"])
        return json.loads((setting.out / "trained" / "curve.json").read_text())[-1]

    yield "the bundled recipe", train


Part = Callable[[Setting], Iterator[Case]]
# By name, with its share of the time. What a part leaves over goes to those after it, so that a training run at the
# end has all that is left.
PARTS: dict[str, tuple[float, Part]] = {
    "cost volume": (35, gpu_checks.cost_volume),
    "parity": (60, gpu_checks.parity),
    "restore": (45, gpu_speed.restoring),
    "training step": (30, gpu_speed.training),
    "windows": (15, gpu_speed.windows),
    "compiled": (30, gpu_speed.compiled),
    "training run": (60, training_run),
}


def in_child(part: Part, setting: Setting, results: Connection) -> None:
    """Runs the cases of a part and sends (name, None) before each and (name, row) after it."""
    os.setsid()  # so that the compiler's workers end with this process
    gc.freeze()  # the garbage collector need not look through what was imported, again and again
    try:
        for name, case in part(setting):
            results.send((name, None))
            if setting.left() < 0.5:
                results.send((name, {"skipped": "no time left"}))
                continue
            results.send((name, attempt(case)))
            gc.collect()
            if setting.device == "cuda" and torch.cuda.is_initialized():
                torch.cuda.empty_cache()
    except Exception:
        results.send(("all", {"error": traceback.format_exc()}))


def attempt(case: Callable[[], Row]) -> Row:
    try:
        return case()
    except Exception:
        return {"error": traceback.format_exc()}


def rows(part: Part, setting: Setting) -> Iterator[Row]:
    """The rows of a part as they come. It is forked before any device is touched: nothing is imported twice."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=in_child, args=(part, setting, sender))
    child.start()
    sender.close()
    name, row = "all", None
    try:
        while receiver.poll(max(0.0, setting.left())):
            try:
                name, row = receiver.recv()
            except EOFError:
                child.join()
                if child.exitcode:
                    yield {"case": name, "error": f"the process ended with {child.exitcode}"}
                return
            if row is not None:
                yield {"case": name, **row}
        yield {"case": name, "skipped": "stopped at the end of the part's time"}
    finally:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has ended, or not begun
            child.kill()
        child.join()


def with_ratios(found: list[Row]) -> list[Row]:
    """Adds how many times as fast a row is as the first of its group."""
    first: dict[str, float] = {}
    for row in found:
        if "ms" in row and "group" in row:
            row["times_as_fast"] = first.setdefault(row["group"], row["ms"]) / row["ms"]
    return found


def cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return " ".join(str(value).strip().splitlines()[-1].split()).replace("|", "/")[:160] if value is not None else ""


def told(row: Row, but: tuple[str, ...]) -> str:
    return ", ".join(f"{key} {cell(value)}" for key, value in row.items() if key not in but and value is not None)


def markdown(report: Row) -> str:
    head = f"{report['device']}, torch {report['torch']}, {report['seconds']:.0f} s of {report['budget']:.0f}"
    columns = ("ms", "times_as_fast", "peak_mib", "ok")
    lines = [head, "", "| part | case | ms | times as fast | peak MiB | right | more |", "|---" * 7 + "|"]
    for name, part in report["parts"].items():
        for row in part["rows"]:
            rest = told(row, (*columns, "case", "group"))
            cells = [name, row["case"], *(cell(row.get(key)) for key in columns), rest]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plain(value: object) -> object:
    """JSON knows no NaN and no infinity."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def write(report: Row, out: Path) -> None:
    report["seconds"] = time.monotonic() - START
    for name, text in (("gpu.json", json.dumps(plain(report), indent=1)), ("gpu.md", markdown(report))):
        part = out / f"{name}.part"
        part.write_text(text)
        part.replace(out / name)


def distrust_kernels(found: list[Row]) -> bool:
    """Whether the CUDA kernels gave a wrong result or none: then torch computes the cost volume in all other parts."""
    ours = [row for row in found if "CuPy" in row["case"]]
    return any("error" in row or "against" in row["case"] and row.get("ok") is not True for row in ours)


def run(args: argparse.Namespace) -> Row:
    report: Row = {"device": args.device, "torch": torch.__version__, "python": platform.python_version(),
                   "budget": args.budget, "seconds": 0.0, "parts": {}}
    chosen = {name: part for name, part in PARTS.items() if name not in args.skip}
    left = sum(share for share, _ in chosen.values())
    for name, (share, part) in chosen.items():
        begun = time.monotonic()
        limit = (START + args.budget - begun) * share / left
        left -= share
        found: list[Row] = []
        report["parts"][name] = {"limit": limit, "rows": found}
        for row in rows(part, Setting(args.device, begun + limit, args.out, args.data)):
            found.append(row)
            report["device"] = row.get("device", report["device"])
            with_ratios(found)
            report["parts"][name]["seconds"] = time.monotonic() - begun
            write(report, args.out)
            print(f"{time.monotonic() - START:6.1f} s  {name}: {told(row, ('group',))}", flush=True)
        if part is gpu_checks.cost_volume and distrust_kernels(found):
            os.environ[VARIABLE] = "torch"
            report["cost_volume"] = "plain torch from here on: the CUDA kernels failed"
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--budget", type=float, default=150, help="seconds for everything (default: %(default)s)")
    parser.add_argument("--skip", nargs="+", choices=PARTS, default=(), metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--data", type=Path, metavar="DIR",
                        help="footage for the training run at the end: HR/<clip>/<frame>.jpg, stills/<photograph>.jpg")
    parser.add_argument("--out", type=Path, default=Path("build/gpu"), help="folder (default: %(default)s)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    report = run(args)
    failed = [row for part in report["parts"].values() for row in part["rows"]
              if "error" in row or row.get("ok") is False]
    write(report, args.out)
    print(f"{args.out / 'gpu.md'}: {len(failed)} measurements failed")


if __name__ == "__main__":
    main()
