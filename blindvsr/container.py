"""What the machine, and a container around this process, grant it: memory and processors."""

import ctypes
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

# what torch, oneDNN beneath it (it says no more), Python, OpenCV and the loader of libraries say without memory
NO_MEMORY = ("not enough memory", "can't allocate memory", "out of memory", "could not create a primitive",
             "can't start new thread", "Insufficient memory", "std::bad_alloc", "failed to map segment",
             "Cannot allocate memory")
UNKNOWN = 4 * 2**30  # bytes taken for free where the system does not tell


def free_memory(root: Path = Path("/")) -> int:
    """Bytes that this process can still get: what the machine has, or less where a container around it, or the shell
    that started it (ulimit -v), has set a limit.

    Args:
        root: of the file system that tells (Linux).
    """
    try:
        lines = dict(line.split(":") for line in (root / "proc/meminfo").read_text().splitlines())
        free = int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        free = UNKNOWN
    return min([free, *_left_of_limits(root), *_left_of_addresses()])


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out; most libraries have no type for that."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in NO_MEMORY)


def give_back_memory() -> None:
    """Gives back to the system what was freed and is still held: where threads come and go, as those of encoders do,
    the C library keeps more and more of it (glibc; elsewhere this does nothing)."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def granted_processors(root: Path = Path("/")) -> int:
    """Processors that this process may keep busy: those it may run on, or fewer where a container around it has a
    share of their time (`docker run --cpus 2`), rounded up.

    Args:
        root: of the file system that tells (Linux).
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([count, *(math.ceil(share) for share in _processor_shares(root))]))


def set_thread_defaults(root: Path = Path("/")) -> None:
    """Tells the libraries that compute with several threads what is granted, where the user has not told them.

    They read it when they are loaded: it has no effect on a torch that was imported before. Threads wait by sleeping:
    libgomp's default of spinning slows everything many times over on a machine that has anything else to do.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    granted = granted_processors(root)
    if granted < (os.cpu_count() or 1):  # without a limit torch's own choice is one thread for each core
        os.environ.setdefault("OMP_NUM_THREADS", str(granted))


def _groups(controller: str, root: Path) -> Iterator[tuple[Path, int]]:
    """The folders of the control groups around this process that a controller belongs to, and their version."""
    try:
        lines = [line.split(":", 2) for line in (root / "proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in lines:
        if controllers and controller not in controllers.split(","):
            continue
        version = 1 if controllers else 2
        base = root / "sys/fs/cgroup" / (controller if version == 1 else "")
        # a container may see its own group at the base, under whatever path the machine knows it by
        for folder in (group := base / path.lstrip("/"), *group.parents):
            yield folder, version
            if folder == base:
                break


def _left_of_limits(root: Path) -> Iterator[int]:
    """What each control group around this process leaves of its limit of memory, if it has one."""
    files = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
             2: ("memory.max", "memory.current", "inactive_file")}
    for folder, version in _groups("memory", root):
        limit, used, reclaimable = files[version]  # the last: a line, what the kernel would take back at once
        try:
            left = int((folder / limit).read_text()) - int((folder / used).read_text())  # no limit is a word
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            yield max(0, left + int(statistics[reclaimable]))
        except (OSError, ValueError, KeyError):
            continue


def _left_of_addresses() -> Iterator[int]:
    """What this process leaves of the limit of its address space, if it has one."""
    try:
        import resource  # not on Windows

        limit, page = resource.getrlimit(resource.RLIMIT_AS)[0], resource.getpagesize()
        if limit != resource.RLIM_INFINITY:
            yield max(0, limit - page * int(Path("/proc/self/statm").read_text().split()[0]))
    except (ImportError, OSError, ValueError):
        return


def _processor_shares(root: Path) -> Iterator[float]:
    """How many processors' time each control group around this process gets, if that is limited."""
    for folder, version in _groups("cpu", root):
        try:
            if version == 2:
                quota, period = map(int, (folder / "cpu.max").read_text().split())  # no limit is a word
            else:
                quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        except (OSError, ValueError):
            continue
        if quota > 0 and period > 0:  # version 1 says -1 for no limit
            yield quota / period
