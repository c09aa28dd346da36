"""Commands that are called in this process get no arguments of pytest's."""

import pytest


@pytest.fixture(autouse=True)
def no_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["register"])
