from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline_steps.base.errors import DataError
from pipeline_steps.pairs.packed import COLOUR, SKETCH, PackedPairs, pack, read_pairs, write_pairs


def test_a_pair_is_read_as_it_was_packed(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    colour = random.integers(0, 256, (8, 8, 3), np.uint8)
    sketch = random.integers(0, 256, (8, 8), np.uint8)
    write_pairs(tmp_path / "x.npy", [pack(colour, sketch)], num_pairs=1, image_size=8)
    pair = read_pairs(tmp_path / "x.npy").pixels[0]
    assert np.array_equal(pair[..., COLOUR], colour)
    assert np.array_equal(pair[..., SKETCH][..., 0], sketch)


def test_a_packed_split_is_a_plain_npy_file(make_pairs: Callable[..., PackedPairs]) -> None:
    pairs = make_pairs("train", 3)
    assert np.load(pairs.path, allow_pickle=False).shape == (3, 32, 32, 4)
    assert (len(pairs), pairs.image_size) == (3, 32)


def test_an_empty_split_can_be_written_and_read(make_pairs: Callable[..., PackedPairs]) -> None:
    assert len(make_pairs("val", 0)) == 0


def test_a_wrong_number_of_pairs_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    with pytest.raises(ValueError, match="num_pairs is 2, got 0 pairs"):
        write_pairs(path, [], num_pairs=2, image_size=8)
    assert list(tmp_path.iterdir()) == []


def test_pairs_of_another_shape_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="need uint8"):
        write_pairs(tmp_path / "x.npy", [np.zeros((4, 4, 4), np.uint8)], num_pairs=1, image_size=8)
    with pytest.raises(ValueError, match="need uint8"):
        pack(np.zeros((8, 8, 3), np.uint8), np.zeros((4, 4), np.uint8))


def test_missing_truncated_and_foreign_files_are_refused(
    tmp_path: Path, make_pairs: Callable[..., PackedPairs]
) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_pairs(tmp_path / "none.npy")
    pairs = make_pairs("train", 3)
    content = pairs.path.read_bytes()
    (tmp_path / "cut.npy").write_bytes(content[:-100])
    np.save(tmp_path / "foreign.npy", np.zeros((3, 3)))
    for name, message in (("cut", "damaged"), ("foreign", "not packed pairs")):
        with pytest.raises(DataError, match=message):
            read_pairs(tmp_path / f"{name}.npy")
