"""A second ``dvc repro`` at the same time, and a system clock that jumps."""

from pathlib import Path

import pytest

from tests.faults.conftest import ReferenceRun
from tests.faults.killing import REPRO, hashes, run_to_end, start
from tests.faults.report import FULL, report
from tests.whole.clone import REGISTER, Clone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

PHASES = ("prepare", "train", "export") if FULL else ("train",)
JUMPS = ("-400d", "+400d") if FULL else ("-400d",)
FAKETIME = next((str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)


@pytest.mark.parametrize("phase", PHASES)
def test_a_second_repro_is_refused_and_the_first_finishes(
    reference: ReferenceRun, tmp_path: Path, phase: str
) -> None:
    clone = reference.clone.copy_to(tmp_path / "clone")
    first, reader = start(clone, REPRO)
    assert first.wait_for(phase)
    second = clone.run(*REPRO, check=False)
    assert second.returncode
    output = second.stdout + second.stderr
    messages = ("blocked by", "is busy", "Unable to acquire lock")
    assert any(message in output for message in messages), output
    assert "Traceback" not in output
    first.process.wait(300)
    reader.join()
    assert first.process.returncode == 0, "".join(first.lines)
    assert hashes(clone) == reference.hashes
    run_to_end(clone, REGISTER)
    assert len(clone.versions()) == 1
    report(f"second dvc repro during {phase}: refused, the first finished, hashes equal")


@pytest.mark.parametrize("jump", JUMPS)
def test_a_clock_jump_leaves_the_results_unchanged(
    reference: ReferenceRun, tmp_path: Path, jump: str
) -> None:
    if FAKETIME is None:
        pytest.skip("needs libfaketime (Debian: faketime)")
    clone = reference.clone.copy_to(tmp_path / "clone")
    control = tmp_path / "faketime"
    control.write_text("+0")
    clone_environment = clone.environment

    class FaketimeClone(Clone):
        @property
        def environment(self) -> dict[str, str]:
            return clone_environment | {
                "LD_PRELOAD": FAKETIME or "",
                "FAKETIME_TIMESTAMP_FILE": str(control),
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }

    faketime_clone = FaketimeClone(clone.folder)
    watched, reader = start(faketime_clone, REPRO)
    assert watched.wait_for("train")
    assert watched.is_running_after(6)
    control.write_text(jump)
    watched.process.wait(300)
    reader.join()
    assert watched.process.returncode == 0, "".join(watched.lines)
    assert hashes(clone) == reference.hashes
    assert "Running stage" not in clone.dvc("repro")
    report(f"clock jumps by {jump} during training: finished, hashes equal")
