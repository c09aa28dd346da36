"""Reading the members of a pair: damage of every kind rejects the pair, and ends nothing else."""

import io
import zipfile

import numpy as np
import pytest

from colorizer.pictures.decoding import Decoded
from pipeline_steps.prepare.pairing import find_pairs
from pipeline_steps.prepare.reading import MemberHashes, PairRules, RejectedError, read_pictures
from tests.pipeline_steps.download.archive_bytes import flip_byte

RULES = PairRules(image_size=32, sketch_side="right", max_picture_pixels=1_000_000)


def pack(compression: int) -> io.BytesIO:
    file = io.BytesIO()
    noise = np.random.default_rng(1).bytes(4096)
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("a.png", noise)
    return file


def decode(data: bytes) -> Decoded:
    raise AssertionError("a damaged member is decoded")


def read_only_pair(archive: zipfile.ZipFile) -> None:
    (pair,) = find_pairs(archive.namelist()).pairs
    read_pictures(archive, pair, RULES, decode, MemberHashes())


@pytest.mark.parametrize(
    "compression",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA],
)
def test_a_damaged_member_is_rejected_whatever_compresses_it(compression: int) -> None:
    content = pack(compression).getvalue()
    damaged = io.BytesIO(flip_byte(content, 200))
    with (
        zipfile.ZipFile(damaged) as archive,
        pytest.raises(RejectedError, match="damaged in the archive"),
    ):
        read_only_pair(archive)


def test_a_member_said_to_lie_beyond_any_file_is_rejected() -> None:
    with zipfile.ZipFile(pack(zipfile.ZIP_STORED)) as archive:
        archive.infolist()[0].header_offset = 2**63 - 1
        with pytest.raises(RejectedError, match="damaged in the archive"):
            read_only_pair(archive)
