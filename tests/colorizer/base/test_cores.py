"""How many processor cores may be used: the affinity, and quotas of control groups."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from colorizer.base.cores import count_cores

REPOSITORY = Path(__file__).parents[3]
V1 = "33 32 0:30 {shown} {point} rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
V2 = "32 31 0:29 {shown} {point} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
CPUSET = "35 32 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
AFFINITY = 16


class Machine:
    """A drawn ``/proc`` and control groups, on a host of 16 cores."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "proc/self").mkdir(parents=True)

    def process(self, group: str, mounts: str) -> None:
        (self.root / "proc/self/cgroup").write_text(group)
        (self.root / "proc/self/mountinfo").write_text(
            "22 1 254:0 / / rw,relatime - ext4 /dev/root rw\n" + mounts
        )

    def limit(self, folder: str, **files: str) -> None:
        path = self.root / folder.lstrip("/")
        path.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (path / f"cpu.{name}").write_text(text + "\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(AFFINITY)))
    return Machine(tmp_path)


def v2(machine: Machine, group: str, *, shown: str = "/", point: str = "/sys/fs/cgroup") -> None:
    machine.process(f"0::{group}\n", V2.format(shown=shown, point=point))


def v1(machine: Machine, group: str, *, shown: str = "/") -> None:
    groups = f"5:cpuset:/\n4:cpu,cpuacct:{group}\n0::/\n"
    machine.process(groups, CPUSET + V1.format(shown=shown, point="/sys/fs/cgroup/cpu,cpuacct"))


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("20000 100000", 1),
        ("75000 25000", 3),
        ("6400000 100000", AFFINITY),
        ("max 100000", AFFINITY),
        ("", AFFINITY),
        ("0 0", AFFINITY),
        ("two 100000", AFFINITY),
    ],
)
def test_a_containers_quota_is_rounded_up(machine: Machine, quota: str, cores: int) -> None:
    v2(machine, "/")
    machine.limit("/sys/fs/cgroup", max=quota)
    assert count_cores(machine.root) == cores


@pytest.mark.parametrize(
    ("quota", "cores"), [("200000", 2), ("150000", 2), ("1000", 1), ("-1", AFFINITY)]
)
def test_so_is_that_of_version_1(machine: Machine, quota: str, cores: int) -> None:
    v1(machine, "/")
    machine.limit("/sys/fs/cgroup/cpu,cpuacct", cfs_quota_us=quota, cfs_period_us="100000")
    assert count_cores(machine.root) == cores


@pytest.mark.parametrize("tight", ["", "/a", "/a/b", "/a/b/c"])
def test_the_smallest_limit_on_the_way_up_counts(machine: Machine, tight: str) -> None:
    v2(machine, "/a/b/c")
    for group in ("", "/a", "/a/b", "/a/b/c", "/other"):
        cores = {tight: 3, "/other": 1}.get(group, 7)
        machine.limit(f"/sys/fs/cgroup{group}", max=f"{cores}00000 100000")
    assert count_cores(machine.root) == 3


def test_version_1_of_a_container_shows_its_own_group_at_the_mount_point(machine: Machine) -> None:
    v1(machine, "/docker/0123/inner", shown="/docker/0123")
    folder = "/sys/fs/cgroup/cpu,cpuacct"
    machine.limit(folder, cfs_quota_us="400000", cfs_period_us="100000")
    machine.limit(f"{folder}/inner", cfs_quota_us="-1", cfs_period_us="100000")
    machine.limit(f"{folder}/docker/0123", cfs_quota_us="100000", cfs_period_us="100000")
    assert count_cores(machine.root) == 4


@pytest.mark.parametrize("group", ["/../elsewhere", "/docker/4567"])
def test_a_group_outside_of_the_mount_takes_the_mounts_limit(machine: Machine, group: str) -> None:
    v2(machine, group, shown="/docker/0123" if "docker" in group else "/")
    machine.limit("/sys/fs/cgroup", max="500000 100000")
    machine.limit("/sys/fs/elsewhere", max="100000 100000")
    assert count_cores(machine.root) == 5


def test_both_versions_may_be_mounted(machine: Machine) -> None:
    mounts = V1.format(shown="/", point="/cg/cpu") + V2.format(shown="/", point="/cg/unified")
    machine.process("1:cpu,cpuacct:/one\n0::/two\n", mounts)
    machine.limit("/cg/cpu/one", cfs_quota_us="500000", cfs_period_us="100000")
    machine.limit("/cg/unified/two", max="300000 100000")
    assert count_cores(machine.root) == 3


def test_a_mount_points_name_may_have_spaces(machine: Machine) -> None:
    v2(machine, "/", point="/my\\040groups")
    machine.limit("/my groups", max="200000 100000")
    assert count_cores(machine.root) == 2


@pytest.mark.parametrize(
    ("group", "mounts"), [("", ""), ("nonsense\n", V2), ("0::/\n", "cgroup2\n"), ("0::/\n", V2)]
)
def test_without_readable_groups_the_affinity_counts(
    machine: Machine, group: str, mounts: str
) -> None:
    machine.process(group, mounts)
    assert count_cores(machine.root) == AFFINITY


def test_so_it_does_without_proc(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert count_cores(machine.root / "nowhere") == AFFINITY
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    assert count_cores(machine.root / "nowhere") == 10
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert count_cores(machine.root / "nowhere") == 1


POOLS = """
import sys
from pathlib import Path
from colorizer.base.cores import limit_thread_pools
limit_thread_pools(Path(sys.argv[1]))
import numpy
if len(sys.argv) > 2:
    import torch, torch._inductor.config
    print(torch.get_num_threads(), torch._inductor.config.compile_threads)
else:
    print(len(list(Path("/proc/self/task").iterdir())))
"""


def run_pools(*arguments: object, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
    command = [sys.executable, "-c", POOLS, *map(str, arguments)]
    environment = kept | {"PYTHONPATH": str(REPOSITORY)} | environment
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


needs_two_cores = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="one core can't be limited",
)


@needs_two_cores
def test_numpy_starts_no_thread_for_a_core_that_the_quota_forbids(tmp_path: Path) -> None:
    limited = Machine(tmp_path)
    v2(limited, "/")
    limited.limit("/sys/fs/cgroup", max="100000 100000")
    assert run_pools(limited.root) == "1"
    assert run_pools(limited.root, OMP_NUM_THREADS="2") == "2"
    assert run_pools(tmp_path / "no groups") == str(len(os.sched_getaffinity(0)))


@pytest.mark.slow
@needs_two_cores
def test_nor_do_torch_and_its_compiler(tmp_path: Path) -> None:
    limited = Machine(tmp_path)
    v2(limited, "/")
    limited.limit("/sys/fs/cgroup", max="100000 100000")
    assert run_pools(limited.root, "torch") == "1 1"


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of this machine, below one that allows half a core."""
    name = f"image-colorizer-test-{os.getpid()}"
    for top, file, text in (
        (Path("/sys/fs/cgroup/cpu"), "cpu.cfs_quota_us", "50000"),
        (Path("/sys/fs/cgroup"), "cpu.max", "50000 100000"),
    ):
        if not (top / "cgroup.procs").exists():
            continue
        inner = top / name / "inner"
        try:
            inner.mkdir(parents=True)
            (top / name / file).write_text(text)
            yield inner
            return
        except OSError:
            continue
        finally:
            for folder in (inner, top / name):
                with suppress(OSError):
                    folder.rmdir()
    pytest.skip("this user may not create a control group")


def test_a_real_quota_of_this_machine_counts(group: Path) -> None:
    code = (
        "from pathlib import Path; from colorizer.base.cores import count_cores;"
        f"Path({str(group / 'cgroup.procs')!r}).write_text('0'); print(count_cores())"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_no_other_file_asks_the_system() -> None:
    asks = re.compile(r"\b(cpu_count|process_cpu_count|sched_getaffinity)\b")
    found = [
        str(path.relative_to(REPOSITORY))
        for folder in ("benchmarks", "colorizer", "flows", "pipeline_steps")
        for path in (REPOSITORY / folder).rglob("*.py")
        if asks.search(path.read_text(encoding="utf-8"))
    ]
    assert found == ["colorizer/base/cores.py"]
