import pickle
from io import BytesIO
from pathlib import Path

import pytest
import torch

from pipeline_steps.scores.tensor_file import read_tensors


class Touch:
    """Creates a file when it's unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


def saved(content: object, *, as_zip: bool = True) -> bytes:
    file = BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=as_zip)
    return file.getvalue()


@pytest.mark.parametrize("as_zip", [True, False])
def test_tensors_are_read_by_name(as_zip: bool) -> None:
    tensors = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}
    found = read_tensors(saved(tensors, as_zip=as_zip))
    assert list(found) == ["a", "b"]
    assert torch.equal(found["a"], tensors["a"])


@pytest.mark.parametrize("kind", ["zip", "file", "pickle"])
def test_code_in_a_file_is_never_run(kind: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    bomb = {"a": Touch(canary)}
    data = pickle.dumps(bomb, protocol=2) if kind == "pickle" else saved(bomb, as_zip=kind == "zip")
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        read_tensors(data)
    assert not canary.exists()


@pytest.mark.parametrize(
    "data", [b"", b"weights", b"PK\x03\x04", saved({"a": torch.ones(9)})[:-40]]
)
def test_what_is_no_file_of_torch_is_refused_in_a_line(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        read_tensors(data)


@pytest.mark.parametrize("content", [[torch.ones(1)], {"a": 1}, 3])
def test_what_is_no_tensors_by_name_is_refused(content: object) -> None:
    with pytest.raises(ValueError, match="no tensors by name"):
        read_tensors(saved(content))
