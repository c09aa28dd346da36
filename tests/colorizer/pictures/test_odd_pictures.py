"""The unusual pictures of ``COLORIZER_DATA``, from a folder and over HTTP."""

import csv
import os
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import requests

from tests.colorizer.studio.running import running_studio
from tests.colorizer.test_batch import colorize, read_report
from tests.faults.report import report

DATA = Path(os.environ.get("COLORIZER_DATA", "/nowhere")) / "odd-images.zip"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not DATA.exists(), reason="needs odd-images.zip in COLORIZER_DATA"),
]


def test_folder_and_http_accept_and_refuse_the_same_pictures(
    model_folder: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(DATA) as archive:
        archive.extractall(tmp_path / "odd")
        with archive.open("verdicts.csv") as file:
            verdicts = list(csv.DictReader(line.decode() for line in file))
    unloadable = {row["path"] for row in verdicts if row["pillow_verdict"].endswith("_fails")}
    # its samples of 32 bits are read by libtiff alone
    unloadable -= {"pillow/open_fails/hopper_unknown_pixel_mode.tif"}
    done = colorize(model_folder, tmp_path / "odd", "-o", tmp_path / "out")
    assert done.returncode == 3
    assert b"Traceback" not in done.stderr
    rows = {row["source"]: row for row in read_report(tmp_path / "out")}
    accepted = {source for source, row in rows.items() if row["status"] == "done"}
    assert unloadable
    assert not accepted & unloadable
    statuses: Counter[int] = Counter()
    with running_studio(model_folder, tmp_path) as studio:
        for source in rows:
            response = studio.post((tmp_path / "odd" / source).read_bytes())
            statuses[response.status_code] += 1
            assert (response.status_code == 200) == (source in accepted), (
                source,
                response.text[:200],
            )
        assert requests.get(f"{studio.url}/health", timeout=10).json()["ok"]
    reasons = Counter(row["reason"].split(":")[0] for row in rows.values() if row["reason"])
    report(
        f"unusual pictures: folder {len(accepted)} accepted of {len(rows)} {dict(reasons)};"
        f" HTTP {dict(statuses)}"
    )
