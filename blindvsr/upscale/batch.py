"""Several inputs, one after another: one that fails keeps none of the others."""

import sys
from collections.abc import Callable, Sequence

from blindvsr import InputError
from blindvsr.upscale.jobs import Job

FAILED = 1  # exit code, as of any command that fails


def run_all(jobs: Sequence[Job], restore: Callable[[Job], int], left: int = 0) -> int:
    """Restores all inputs, goes on after one that fails, and sums up.

    Args:
        jobs: what to do.
        restore: does one, and returns its exit code.
        left: how many have been left out before.

    Returns:
        Exit code: 1 if any has failed, otherwise the highest of all.
    """
    codes, failed = [0], []
    for number, job in enumerate(jobs, 1):
        print(f"[{number}/{len(jobs)}] {job.source}", file=sys.stderr)
        try:
            codes.append(restore(job))
        except Exception as error:  # whatever it is: a night's work shall not end with the first bad file
            said = " ".join(str(error).split()) or type(error).__name__
            kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
            print(f"{job.source}: error: {kind}{said}", file=sys.stderr)
            failed.append(str(job.source))
    parts = [f"{len(jobs) - len(failed)} restored"]
    if left:
        parts.append(f"{left} left as they were")
    if failed:
        parts.append(f"{len(failed)} failed: {', '.join(failed)}")
    print(f"{len(jobs) + left} inputs: {', '.join(parts)}")
    return FAILED if failed else max(codes)
