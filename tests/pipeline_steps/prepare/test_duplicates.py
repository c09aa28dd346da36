"""Copies are found after recompression; different drawings in one style aren't duplicates."""

import io

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from pipeline_steps.prepare.duplicates import (
    Fingerprint,
    SplitPair,
    exact_duplicates,
    fingerprint,
    near_groups,
    straddlers,
    thumbnail,
)

SIZE = 256
Packed = npt.NDArray[np.uint8]


def draw_face(mouth: int, colour: tuple[int, int, int] = (250, 210, 40)) -> Packed:
    """Every face has one outline; only the mouth differs. H×W×4."""
    halves = []
    for fill in (colour, (255, 255, 255)):
        page = Image.new("RGB", (SIZE, SIZE), "white")
        pen = ImageDraw.Draw(page)
        pen.ellipse((20, 20, 236, 236), fill=fill, outline="black", width=6)
        for x in (90, 166):
            pen.ellipse((x - 8, 90, x + 8, 110), fill="black")
        start = mouth * 45
        pen.arc((80, 120, 176, 200), start, start + 140, fill="black", width=6)
        halves.append(np.asarray(page))
    return np.concatenate([halves[0], halves[1][..., :1]], axis=-1)


def recompress(pair: Packed, quality: int) -> Packed:
    def jpeg(pixels: Packed) -> Packed:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file).convert("RGB"))

    sketch = np.repeat(pair[..., 3:], 3, axis=-1)
    return np.concatenate([jpeg(pair[..., :3]), jpeg(sketch)[..., :1]], axis=-1)


def groups_of(pairs: list[Packed], max_distance: int = 4) -> list[list[int]]:
    prints = [
        fingerprint(
            Image.fromarray(pair[..., :3].copy()), Image.fromarray(pair[..., 3].copy()), pair
        )
        for pair in pairs
    ]
    thumbs = np.stack([thumbnail(pair) for pair in pairs])
    return near_groups(prints, thumbs, thumb_numbers=range(len(pairs)), max_distance=max_distance)


@pytest.mark.parametrize("quality", [95, 80, 70])
def test_a_recompressed_picture_is_found(quality: int) -> None:
    faces = [draw_face(mouth) for mouth in range(4)]
    assert groups_of([*faces, recompress(faces[2], quality)]) == [[2, 4]]


def test_faces_that_differ_in_the_mouth_are_different() -> None:
    assert groups_of([draw_face(mouth) for mouth in range(8)], max_distance=15) == []


def test_another_colouring_of_the_same_lines_is_different() -> None:
    assert groups_of([draw_face(0), draw_face(0, colour=(60, 90, 220))], max_distance=15) == []


@pytest.mark.parametrize("max_distance", [0, 1, 4, 15])
def test_bands_find_the_same_duplicates_as_comparing_all_pairs(max_distance: int) -> None:
    draw = np.random.default_rng(max_distance)
    bases = draw.integers(0, 2**64, (6, 2), dtype=np.uint64)
    hashes = []
    for base in bases.repeat(8, axis=0):
        bits = draw.integers(0, 64, (2, draw.integers(0, max_distance + 4)))
        flips = [np.bitwise_or.reduce(np.uint64(1) << half.astype(np.uint64)) for half in bits]
        hashes.append([int(base[half] ^ flips[half]) for half in (0, 1)])
    same_thumbs = np.zeros((len(hashes), 32, 32, 4), np.uint8)
    prints = [Fingerprint(b"", colour, sketch) for colour, sketch in hashes]
    got = near_groups(
        prints, same_thumbs, thumb_numbers=range(len(prints)), max_distance=max_distance
    )
    assert got == grouped_by_comparing_all(hashes, max_distance)


def grouped_by_comparing_all(hashes: list[list[int]], max_distance: int) -> list[list[int]]:
    label = list(range(len(hashes)))
    for first in range(len(hashes)):
        for second in range(first):
            pairs = zip(hashes[first], hashes[second], strict=True)
            if all((a ^ b).bit_count() <= max_distance for a, b in pairs):
                old, new = label[first], label[second]
                label = [new if each == old else each for each in label]
    members = [[k for k, each in enumerate(label) if each == name] for name in set(label)]
    return sorted(group for group in members if len(group) > 1)


def test_of_exact_copies_that_of_test_is_kept_then_of_val_then_the_first_id() -> None:
    pairs = [
        SplitPair("b", "train"),
        SplitPair("a", "train"),
        SplitPair("d", "val"),
        SplitPair("e", "test"),
        SplitPair("c", "train"),
    ]
    assert set(exact_duplicates(pairs, [b"1", b"1", b"2", b"3", b"3"])) == {0, 4}
    assert set(exact_duplicates(pairs, [b"1"] * 5)) == {0, 1, 2, 4}
    assert exact_duplicates(pairs[:2], [b"1"] * 2) == {0: "exact duplicate: of 'a' in train"}


def test_near_duplicates_in_several_splits_stay_in_test_then_val() -> None:
    group = [SplitPair("a", "train"), SplitPair("b", "test"), SplitPair("c", "test")]
    assert straddlers(group) == {0: "near duplicate: of 'b' in test"}
    assert straddlers(group[1:]) == {}
    assert set(straddlers([SplitPair("a", "train"), SplitPair("b", "val")])) == {0}
