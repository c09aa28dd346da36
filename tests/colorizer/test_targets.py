"""A folder of pictures never loses one of a batch's inputs, whatever name leads to it."""

from pathlib import Path

import pytest

from colorizer.base.errors import ColorizerError
from colorizer.targets import LocalTargets


def test_an_input_is_kept_by_a_name_that_it_got_after_the_batch_began(tmp_path: Path) -> None:
    sketch, folder = tmp_path / "sketch.png", tmp_path / "out"
    sketch.write_bytes(b"sketch")
    folder.mkdir()
    targets = LocalTargets(folder).protecting([sketch], [])
    # as a file system does that takes a.PNG and a.png for one name
    (folder / "later.png").hardlink_to(sketch)
    with pytest.raises(ColorizerError, match="is an input, which would be overwritten"):
        targets.write("later.png", b"picture")
    targets.remove("later.png")
    assert (folder / "later.png").read_bytes() == sketch.read_bytes() == b"sketch"


def test_workers_on_other_machines_know_inputs_by_name_alone(tmp_path: Path) -> None:
    """There another file may have the same device and inode."""
    sketch = tmp_path / "a.png"
    sketch.write_bytes(b"sketch")
    (tmp_path / "b.png").write_bytes(b"old")
    targets = LocalTargets(tmp_path).protecting([sketch], []).for_workers()
    assert targets.identities == frozenset()
    targets.write("b.png", b"new")
    assert (tmp_path / "b.png").read_bytes() == b"new"
    with pytest.raises(ColorizerError, match="is an input"):
        targets.write("a.png", b"new")
