"""Two pipelines at once, and a clock that jumps: each ends in a clear state."""

from pathlib import Path

import pytest

from tests.faults.conftest import Unbroken
from tests.faults.killing import REPRO, finish, hashes, start
from tests.faults.report import FULL, tell
from tests.whole.clone import Clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PHASES = ("prepare", "train", "export") if FULL else ("train",)
JUMPS = ("-400d", "+400d") if FULL else ("-400d",)
FAKETIME = next((str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)


@pytest.mark.parametrize("phase", PHASES)
def test_a_second_repro_is_refused_and_harms_nothing(
    unbroken: Unbroken, tmp_path: Path, phase: str
) -> None:
    clone = unbroken.clone.copy_to(tmp_path / "clone")
    first, reader = start(clone, REPRO)
    assert first.wait_for(phase)
    second = clone.run(*REPRO, check=False)
    assert second.returncode
    printed = second.stdout + second.stderr
    messages = ("blocked by", "is busy", "Unable to acquire lock")
    assert any(message in printed for message in messages), printed
    assert "Traceback" not in printed
    first.process.wait(300)
    reader.join()
    assert first.process.returncode == 0, "".join(first.lines)
    finish(clone)
    assert hashes(clone) == unbroken.hashes
    assert len(clone.versions()) == 1
    tell(f"second dvc repro during {phase}: refused, the first finished, hashes equal")


@pytest.mark.parametrize("jump", JUMPS)
def test_a_clock_that_jumps_changes_nothing(unbroken: Unbroken, tmp_path: Path, jump: str) -> None:
    if FAKETIME is None:
        pytest.skip("needs libfaketime (Debian: faketime)")
    clone = unbroken.clone.copy_to(tmp_path / "clone")
    control = tmp_path / "faketime"
    control.write_text("+0")
    clone_environment = clone.environment

    class Jumping(Clone):
        @property
        def environment(self) -> dict[str, str]:
            return clone_environment | {
                "LD_PRELOAD": FAKETIME or "",
                "FAKETIME_TIMESTAMP_FILE": str(control),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }

    jumping = Jumping(clone.folder)
    watched, reader = start(jumping, REPRO)
    assert watched.wait_for("train")
    assert watched.lives(6)
    control.write_text(jump)
    watched.process.wait(300)
    reader.join()
    assert watched.process.returncode == 0, "".join(watched.lines)
    assert hashes(clone) == unbroken.hashes
    assert "Running stage" not in clone.dvc("repro")
    tell(f"clock jumps by {jump} in mid-training: finished, hashes equal")
