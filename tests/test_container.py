"""What a container grants, told by files as Linux has them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from blindvsr.container import free_memory, give_back_memory, granted_processors, set_thread_defaults
from tests.conftest import held_memory


def write_files(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


@pytest.mark.parametrize(("files", "expected"), [
    ({}, 8192),
    # version 2: the group itself has no limit, the one above has; what the kernel takes back at once is free
    ({"proc/self/cgroup": "0::/user.slice/job.scope\n", "sys/fs/cgroup/user.slice/job.scope/memory.max": "max\n",
      "sys/fs/cgroup/user.slice/job.scope/memory.current": "10\n", "sys/fs/cgroup/user.slice/memory.max": "5000\n",
      "sys/fs/cgroup/user.slice/memory.current": "1500\n",
      "sys/fs/cgroup/user.slice/memory.stat": "anon 1000\ninactive_file 400\n"}, 3900),
    # version 2 inside a container: its group is the root
    ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "2000\n", "sys/fs/cgroup/memory.current": "2500\n",
      "sys/fs/cgroup/memory.stat": "inactive_file 100\n"}, 0),
    # version 1 inside a container: the path is the machine's, the files are at the base
    ({"proc/self/cgroup": "5:cpu,cpuacct:/docker/1f\n4:memory:/docker/1f\n0::/docker/1f\n",
      "sys/fs/cgroup/memory/memory.limit_in_bytes": "3000\n", "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000\n",
      "sys/fs/cgroup/memory/memory.stat": "inactive_file 7\ntotal_inactive_file 50\n"}, 2050),
    # version 1 without a limit says the largest number that there is
    ({"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
      "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000\n",
      "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 50\n"}, 8192),
])
def test_the_limit_of_a_container(files: dict[str, str], expected: int, tmp_path: Path) -> None:
    write_files(tmp_path, {"proc/meminfo": "MemTotal: 90 kB\nMemAvailable: 8 kB\n", **files})
    assert free_memory(tmp_path) == expected


@pytest.mark.parametrize(("files", "expected"), [
    ({}, 8),
    ({"proc/self/cgroup": "0::/job\n", "sys/fs/cgroup/job/cpu.max": "150000 100000\n"}, 2),
    ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
      "sys/fs/cgroup/a/cpu.max": "20000 100000\n"}, 1),
    # version 1 inside a container: the path is the machine's, the files are at the base
    ({"proc/self/cgroup": "5:cpu,cpuacct:/docker/1f\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
      "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 3),
    ({"proc/self/cgroup": "5:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
      "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 8),
])
def test_the_processors_of_a_container(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, files)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert granted_processors(tmp_path) == expected
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "environ", {"OMP_WAIT_POLICY": "ACTIVE"})
    set_thread_defaults(tmp_path)
    assert os.environ.get("OMP_NUM_THREADS", "8") == str(expected)
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"  # what the user has set stays


def test_threads_are_told_where_the_library_is_used_from_python() -> None:
    """Before torch is loaded, which reads it then."""
    script = "import blindvsr, os, sys; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    done = subprocess.run([sys.executable, "-c", script], env=surroundings, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["PASSIVE", "False"]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read in /proc")
def test_freed_memory_goes_back() -> None:
    blocks = [bytes(2000) for _ in range(50_000)]
    last = blocks.pop()  # above all others: the C library gives back only what lies above everything in use
    held = held_memory()
    blocks.clear()
    give_back_memory()
    assert held_memory() < held - 80e6 and last
