"""Outputs that are made once; commands that are called in this process get no arguments."""

from contextlib import chdir
from pathlib import Path

import pytest

from pipeline_steps.params import Params
from tests.pipeline_steps.register.outputs import write_outputs
from tests.shared import make_once


@pytest.fixture(autouse=True)
def no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["register"])


@pytest.fixture(scope="session")
def outputs(tmp_path_factory: pytest.TempPathFactory, params: Params) -> Path:
    def make(folder: Path) -> None:
        with chdir(folder):
            write_outputs(params)

    return make_once(tmp_path_factory, "outputs", make)
