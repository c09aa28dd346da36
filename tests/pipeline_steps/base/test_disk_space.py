import errno
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from pipeline_steps.base import disk_space
from pipeline_steps.base.disk_space import require_disk_space
from pipeline_steps.base.errors import DiskSpaceError, report_errors


class Usage(NamedTuple):
    free: int


def test_disk_space_is_required_to_the_byte_on_the_disk_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[Path] = []

    def usage(path: Path) -> Usage:
        measured.append(path.resolve())
        return Usage(100_000_000 + disk_space.SPARE_BYTES)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    require_disk_space(tmp_path / "not" / "yet", 100_000_000, "a checkpoint")
    with pytest.raises(
        DiskSpaceError, match=r"a checkpoint needs 167 MB in .*not/yet, where 167 MB"
    ):
        require_disk_space(tmp_path / "not" / "yet", 100_000_001, "a checkpoint")
    monkeypatch.chdir(tmp_path)
    require_disk_space(Path("not/yet"), 0, "nothing")
    assert measured == [tmp_path] * 3


def test_a_negative_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be ≥ 0, got -1"):
        require_disk_space(tmp_path, -1, "a checkpoint")


def run_code(code: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
    )


@pytest.mark.parametrize(
    "raised",
    [
        f"OSError({errno.ENOSPC}, 'No space left on device', 'models/x.npy')",
        f"OSError({errno.EDQUOT}, 'Disk quota exceeded', 'models/x.npy')",
        "RuntimeError('Error while serializing: I/O error: No space left on device (os error 28)')",
        "RuntimeError('(sqlite3.OperationalError) database or disk is full')",
    ],
)
def test_a_full_disk_is_reported_in_one_line_for_every_library(raised: str, tmp_path: Path) -> None:
    code = f"""
from pipeline_steps.base.errors import run_main
def work():
    try:
        raise {raised}
    except Exception as error:
        raise RuntimeError("while saving") from error
run_main(work)
"""
    done = run_code(code, tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: the disk is full (")
    assert ("models/x.npy" in line) == ("models/x.npy" in raised)
    assert line.endswith("): free space and run the same command again")


def test_a_full_disk_is_reported_also_as_the_cause_of_another_error(tmp_path: Path) -> None:
    code = """
import shutil
from pipeline_steps.base.errors import TrackingError, run_main
shutil.disk_usage = lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 4096, 4096)
def work():
    try:
        raise RuntimeError("(sqlite3.OperationalError) disk I/O error")
    except RuntimeError:
        raise TrackingError("MLflow can't use the database") from None
run_main(work)
"""
    done = run_code(code, tmp_path)
    assert done.stderr.startswith("error: the disk is full (")


def test_a_programming_error_is_not_caught() -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        report_errors(fail)
