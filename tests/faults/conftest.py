"""What the faults are compared with: a run that nothing happened to."""

import signal
from typing import NamedTuple

import pytest

from tests.faults.killing import REGISTER, REPRO, hashes, run_to_end
from tests.whole.clone import Clone, make_small_clone

PARAMS = {"train": {"epochs": 30, "checkpoint_interval_s": 0.3}}


# a shell that starts us in the background has Ctrl-C ignored, and whom we start would inherit that
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Unbroken(NamedTuple):
    """A clone whose pipeline ran to its end, and what it came to."""

    clone: Clone
    durations_s: dict[str, float]
    """Phase → how long it took."""
    hashes: dict[str, str]


@pytest.fixture(scope="session")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Unbroken:
    clone = make_small_clone(tmp_path_factory.mktemp("unbroken") / "clone")
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
    return Unbroken(clone, durations_s, hashes(clone))
