"""Packing one pair of the archive: what is read, and why a pair is rejected."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from pipeline_steps.prepare.packing import PairFacts, pack_pair
from pipeline_steps.prepare.pairing import find_pairs
from pipeline_steps.prepare.reading import PairRules
from tests.pipeline_steps.download.archive_bytes import flip_byte

RULES = PairRules(image_size=32, sketch_side="right", max_picture_pixels=1_000_000)


class CountingFile(io.BytesIO):
    """A file that counts the bytes read."""

    num_read = 0

    def read(self, num_bytes: int | None = -1, /) -> bytes:
        content = super().read(num_bytes)
        self.num_read += len(content)
        return content


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def halves(width: int = 64, height: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """A noisy colour picture and a sketch of one line, H×W×3 each."""
    colour = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    colour[..., 0] = 255
    sketch = np.full((height, width, 3), 255, np.uint8)
    sketch[height // 2] = 0
    return colour, sketch


def archive_of(**pictures: np.ndarray) -> CountingFile:
    file = CountingFile()
    with zipfile.ZipFile(file, "w") as archive:
        for name, pixels in pictures.items():
            archive.writestr(f"{name.replace('__', '/')}.png", png(pixels))
    return file


def pack_only_pair(file: CountingFile, rules: PairRules = RULES) -> PairFacts:
    with zipfile.ZipFile(file) as archive:
        (pair,) = find_pairs(archive.namelist()).pairs
        file.num_read = 0
        facts, packed = pack_pair(archive, pair, rules)
    assert (packed is None) == bool(facts.reason)
    return facts


@pytest.mark.parametrize("side_by_side", [True, False])
def test_each_member_is_read_once(side_by_side: bool) -> None:
    colour, sketch = halves(128, 128)
    if side_by_side:
        file = archive_of(a=np.concatenate([colour, sketch], axis=1))
    else:
        file = archive_of(colour__a=colour, sketch__a=sketch)
    assert pack_only_pair(file).reason == ""
    num_bytes = len(file.getvalue())
    assert 0.9 * num_bytes < file.num_read <= num_bytes


def test_a_flipped_byte_is_detected_by_the_members_checksum() -> None:
    content = archive_of(a=np.concatenate(halves(), axis=1)).getvalue()
    damaged = CountingFile(flip_byte(content, len(content) // 2))
    assert pack_only_pair(damaged).reason.startswith("damaged in the archive: Bad CRC-32")


COLOUR, SKETCH = halves()
WHITE = np.full((64, 64, 3), 255, np.uint8)
PALE = WHITE - np.array([20, 10, 0], np.uint8)


@pytest.mark.parametrize(
    ("pictures", "reason"),
    [
        ({"a": np.concatenate([COLOUR, SKETCH], axis=1)[:, 1:]}, "odd width: 127×64 px"),
        ({"a": np.concatenate([COLOUR, SKETCH], axis=1)[:7]}, "too small: a half is 64×7 px"),
        ({"a": np.concatenate([COLOUR, SKETCH], axis=1)[:15]}, "too long: a half is 64×15 px"),
        (
            {"colour__a": COLOUR, "sketch__a": SKETCH[:, :62]},
            "shapes differ: colour 64×64 px, sketch 62×64 px",
        ),
        ({"a": np.concatenate([SKETCH, COLOUR], axis=1)}, "sketch half is coloured: mean chroma"),
        ({"a": np.concatenate([WHITE, SKETCH], axis=1)}, "blank colour half"),
        ({"a": np.concatenate([COLOUR, WHITE], axis=1)}, "blank sketch half"),
        ({"a": np.concatenate([SKETCH, SKETCH], axis=1)}, "both halves are the same picture"),
        ({"a": np.zeros((1000, 1002), np.uint8)}, "too large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pair_is_rejected_with_its_reason(pictures: dict[str, np.ndarray], reason: str) -> None:
    assert pack_only_pair(archive_of(**pictures)).reason.startswith(reason)


def test_pictures_at_the_limits_are_accepted() -> None:
    for part in (np.s_[:16], np.s_[:64]):  # a half of 64×16 px, the longest allowed
        pair = np.concatenate([COLOUR, SKETCH], axis=1)[part]
        pair[4, 64:] = 0
        assert pack_only_pair(archive_of(a=pair)).reason == ""
    folders = {"colour__a": COLOUR, "sketch__a": SKETCH[:, :63]}
    assert pack_only_pair(archive_of(**folders)).reason == ""


def test_a_sketch_on_tinted_paper_is_accepted_beside_a_coloured_picture() -> None:
    tinted = PALE.copy()
    tinted[32] = 0
    assert pack_only_pair(archive_of(a=np.concatenate([COLOUR, tinted], axis=1))).reason == ""
