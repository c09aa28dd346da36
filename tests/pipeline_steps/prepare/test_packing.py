"""Packing one pair of the archive: what is read, and why a pair is rejected."""

import io
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from colorizer.runtime import Colorizer
from pipeline_steps.prepare.packing import PairFacts, pack_pair
from pipeline_steps.prepare.pairing import find_pairs
from pipeline_steps.prepare.reading import PairRules
from tests.colorizer.drawing import png
from tests.pipeline_steps.download.archive_bytes import flip_byte, zip_of

RULES = PairRules(image_size=32, sketch_side="right", max_picture_pixels=1_000_000)


class CountingFile(io.BytesIO):
    """A file that counts the bytes read."""

    num_read = 0

    def read(self, num_bytes: int | None = -1, /) -> bytes:
        content = super().read(num_bytes)
        self.num_read += len(content)
        return content


def halves(width: int = 64, height: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """A noisy colour picture and a sketch of one line, H×W×3 each."""
    colour = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    colour[..., 0] = 255
    sketch = np.full((height, width, 3), 255, np.uint8)
    sketch[height // 2] = 0
    return colour, sketch


def archive_of(**pictures: np.ndarray) -> CountingFile:
    members = {f"{name.replace('__', '/')}.png": png(pixels) for name, pixels in pictures.items()}
    return CountingFile(zip_of(members))


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
PAINTED = WHITE.copy()
PAINTED[:40, :30], PAINTED[20:, 34:] = (255, 60, 0), (0, 90, 255)
FAINT = WHITE.copy()
FAINT[10:50, 10:50] = (235, 225, 215)
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
        ({"a": np.concatenate([SKETCH, PAINTED], axis=1)}, "sketch half is coloured: mean chroma"),
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


@pytest.mark.parametrize("paper", [PALE, PALE // 2, WHITE - np.array([5, 30, 85], np.uint8)])
@pytest.mark.parametrize("ink", [(0, 0, 0), (30, 60, 140), (120, 20, 20)])
def test_tinted_paper_and_coloured_pencils_are_accepted_as_sketches(
    paper: np.ndarray, ink: tuple[int, int, int]
) -> None:
    drawn = paper.copy()
    drawn[30:33] = ink
    for colour in (PAINTED, FAINT):
        facts = pack_only_pair(archive_of(a=np.concatenate([colour, drawn], axis=1)))
        assert facts.reason == ""


@pytest.mark.parametrize("layout", ["halves", "folders"])
@pytest.mark.parametrize("change", ["none", "light on dark", "tinted", "transparent"])
def test_the_packed_sketch_is_what_the_model_is_served(layout: str, change: str) -> None:
    random = np.random.default_rng(2)
    sketch = np.full((70, 90, 3), 255, np.uint8)
    sketch[20:23], sketch[:, 40:43] = 30, random.integers(0, 200, (70, 3, 1))
    if change == "light on dark":
        sketch = 255 - sketch
    if change == "tinted":
        sketch = (sketch * np.array([0.98, 0.88, 0.67])).astype(np.uint8)
    colour = np.full_like(sketch, (200, 30, 90))
    colour[30:, 40:] = (30, 200, 90)
    if change == "transparent":  # light on dark, cut out
        opaque = np.full((*sketch.shape[:2], 1), 255, np.uint8)
        cut = opaque.copy()
        cut[:, :20] = 0
        colour = np.concatenate([colour, opaque], axis=-1)
        sketch = np.concatenate([255 - sketch, cut], axis=-1)
    if layout == "halves":
        file = archive_of(a=np.concatenate([colour, sketch], axis=1))
    else:
        file = archive_of(colour__a=colour, sketch__a=sketch)
    with zipfile.ZipFile(file) as archive:
        _, packed = pack_pair(archive, find_pairs(archive.namelist()).pairs[0], RULES)
    assert packed is not None
    assert np.median(packed[..., 3]) == 255
    assert np.array_equal(packed[..., 3], model_input(png(sketch)))


def model_input(sketch: bytes) -> np.ndarray:
    """What the runtime feeds to a model of 32 px for a sketch's file: 32×32 ``uint8``."""
    seen = []

    class Session:
        def colour(self, squares: list[np.ndarray], *_: None) -> list[np.ndarray]:
            seen.extend(squares)
            return [np.zeros((32, 32, 3), np.uint8)]

    colorizer = Colorizer.__new__(Colorizer)
    colorizer.model = SimpleNamespace(image_size=32)  # type: ignore[assignment]
    colorizer.session = Session()  # type: ignore[assignment]
    colorizer.decoder = None
    colorizer.draw(sketch)
    return seen[0]
