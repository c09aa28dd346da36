"""Every odd picture at hand (``COLORIZER_DATA``), by folder and by HTTP: never a crash."""

import csv
import os
import zipfile
from collections import Counter
from pathlib import Path

import pytest
import requests

from tests.colorizer.studio.running import running_studio
from tests.colorizer.test_batch import colorize, report
from tests.faults.report import tell

DATA = Path(os.environ.get("COLORIZER_DATA", "/nowhere")) / "odd-images.zip"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not DATA.exists(), reason="needs odd-images.zip in COLORIZER_DATA"),
]


def test_folder_and_http_take_and_refuse_the_same(model_folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(DATA) as archive:
        archive.extractall(tmp_path / "odd")
        with archive.open("verdicts.csv") as file:
            verdicts = list(csv.DictReader(line.decode() for line in file))
    unloadable = {row["path"] for row in verdicts if row["pillow_verdict"].endswith("_fails")}
    done = colorize(model_folder, tmp_path / "odd", "-o", tmp_path / "out")
    assert done.returncode == 3
    assert b"Traceback" not in done.stderr
    rows = {row["source"]: row for row in report(tmp_path / "out")}
    taken = {source for source, row in rows.items() if row["status"] == "done"}
    assert unloadable
    assert not taken & unloadable
    statuses: Counter[int] = Counter()
    with running_studio(model_folder, tmp_path) as studio:
        for source in rows:
            answer = studio.post((tmp_path / "odd" / source).read_bytes())
            statuses[answer.status_code] += 1
            assert (answer.status_code == 200) == (source in taken), (source, answer.text[:200])
        assert requests.get(f"{studio.url}/health", timeout=10).json()["ok"]
    reasons = Counter(row["reason"].split(":")[0] for row in rows.values() if row["reason"])
    tell(
        f"odd pictures: folder {len(taken)} taken of {len(rows)} {dict(reasons)};"
        f" HTTP {dict(statuses)}"
    )
