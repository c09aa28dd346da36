"""The reference for all fault tests: a run that isn't disturbed."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from filelock import FileLock

from tests.faults.killing import REPRO, hashes, kill_all_started, run_to_end
from tests.whole.clone import REGISTER, Clone, make_small_clone

PARAMS = {"train": {"epochs": 30, "checkpoint_interval_s": 0.3}}


# a shell that starts pytest in the background ignores SIGINT, which child processes inherit
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class ReferenceRun(NamedTuple):
    """A clone whose pipeline ran undisturbed to its end, and its results."""

    clone: Clone
    durations_s: dict[str, float]
    """Phase → duration."""
    hashes: dict[str, str]


@pytest.fixture(autouse=True)
def _no_command_left() -> Iterator[None]:
    yield
    kill_all_started()


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> ReferenceRun:
    """One for all of pytest's workers: the first to need it runs it, the others wait."""
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent
    folder, results = shared / "reference", shared / "reference.json"
    with FileLock(shared / "reference.lock"):
        if not results.exists():
            durations_s = run_undisturbed(folder)
            results.write_text(json.dumps([durations_s, hashes(Clone(folder))]))
    durations_s, hashes_of_files = json.loads(results.read_text())
    return ReferenceRun(Clone(folder), durations_s, hashes_of_files)


def run_undisturbed(folder: Path) -> dict[str, float]:
    """Run and register the pipeline in a new clone; return the duration of each phase."""
    clone = make_small_clone(folder)
    clone.set_params(PARAMS)
    clone.commit()
    watched = run_to_end(clone, REPRO)
    began = watched.began_s.items()
    ends_s = [*list(watched.began_s.values())[1:], watched.ended_s]
    durations_s = {
        phase: end_s - began_s for (phase, began_s), end_s in zip(began, ends_s, strict=True)
    }
    registered = run_to_end(clone, REGISTER)
    durations_s["register"] = registered.ended_s - registered.began_s["register"]
    return durations_s
