"""Every flipped byte of an exported folder is noticed before anything of it is used."""

import random
import shutil
import time
from pathlib import Path

import pytest

from colorizer.base.errors import ModelFolderError
from colorizer.model.folder import CHECKED_FILES, CHECKSUMS_FILE, open_model_folder
from tests.faults.conftest import Unbroken
from tests.faults.report import FULL, tell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SMALL_BYTES = 8192
FLIPS_OF_A_BIG_FILE = 1000 if FULL else 100


def test_each_flipped_byte_is_refused(unbroken: Unbroken, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    shutil.copytree(unbroken.clone.folder / "models" / "colorizer", folder)
    assert open_model_folder(folder)
    draw = random.Random(5)
    for name in (*CHECKED_FILES, CHECKSUMS_FILE):
        path, start_s = folder / name, time.monotonic()
        path.chmod(0o644)
        whole = path.read_bytes()
        if len(whole) <= SMALL_BYTES:
            positions = range(len(whole)) if FULL else draw.sample(range(len(whole)), 200)
        else:
            positions = draw.sample(range(len(whole)), FLIPS_OF_A_BIG_FILE)
        refused = 0
        for position in positions:
            flipped = bytearray(whole)
            flipped[position] ^= 1 << draw.randrange(8)
            path.write_bytes(flipped)
            try:
                open_model_folder(folder)
            except ModelFolderError as error:
                assert "\n" not in str(error)  # noqa: PT017
                refused += 1
        path.write_bytes(whole)
        assert refused == len(positions), name
        tell(
            f"exported folder, {name} ({len(whole)} bytes): {len(positions)} flipped, {refused}"
            f" refused, {time.monotonic() - start_s:.0f} s"
        )
