"""A flipped bit in any file of an exported folder is detected when the folder is opened."""

import random
import shutil
import time
from pathlib import Path

import pytest

from colorizer.base.errors import ModelFolderError
from colorizer.model.folder import CHECKED_FILES, CHECKSUMS_FILE, open_model_folder
from tests.faults.conftest import ReferenceRun
from tests.faults.report import FULL, report

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SMALL_BYTES = 8192
FLIPS_PER_LARGE_FILE = 1000 if FULL else 100


def test_a_folder_with_a_flipped_bit_is_refused(reference: ReferenceRun, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(reference.clone.folder / "models" / "colorizer", folder)
    assert open_model_folder(folder)
    rng = random.Random(5)
    for name in (*CHECKED_FILES, CHECKSUMS_FILE):
        path, start_s = folder / name, time.monotonic()
        path.chmod(0o644)
        original = path.read_bytes()
        if len(original) <= SMALL_BYTES:
            positions = range(len(original)) if FULL else rng.sample(range(len(original)), 200)
        else:
            positions = rng.sample(range(len(original)), FLIPS_PER_LARGE_FILE)
        refused = 0
        for position in positions:
            flipped = bytearray(original)
            flipped[position] ^= 1 << rng.randrange(8)
            path.write_bytes(flipped)
            try:
                open_model_folder(folder)
            except ModelFolderError as error:
                assert "\n" not in str(error)  # noqa: PT017
                refused += 1
        path.write_bytes(original)
        assert refused == len(positions), name
        report(
            f"exported folder, {name} ({len(original)} bytes): {len(positions)} flipped, {refused}"
            f" refused, {time.monotonic() - start_s:.0f} s"
        )
