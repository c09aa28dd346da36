"""deploy/.env: random, readable by its owner alone, never replaced."""

import stat
from pathlib import Path

import pytest

from deploy.passwords import make_passwords, read_env_file
from pipeline_steps.base.errors import PipelineError
from tests.deploy.test_compose import PASSWORDS


def test_passwords_are_random_private_and_kept(tmp_path: Path) -> None:
    first, second = tmp_path / "a" / ".env", tmp_path / "b" / ".env"
    for path in (first, second):
        path.parent.mkdir()
        assert make_passwords(path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert [*path.parent.iterdir()] == [path]
    one, other = read_env_file(first), read_env_file(second)
    assert set(PASSWORDS) <= set(one)
    for name in ("POSTGRES_PASSWORD", "PREFECT_API_AUTH_STRING", "AWS_SECRET_ACCESS_KEY"):
        assert one[name] != other[name]
        assert len(one[name]) >= 48
    text = first.read_text()
    assert not make_passwords(first)
    assert first.read_text() == text


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match=r"\.env: can't be written"):
        make_passwords(tmp_path / "missing" / ".env")
