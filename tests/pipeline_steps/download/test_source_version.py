"""A source's version changes exactly when its content does."""

import dataclasses
import hashlib
import os
from pathlib import Path

import pytest

from colorizer.base.files import write_json
from pipeline_steps.base.errors import SourceError
from pipeline_steps.download.source_version import (
    find_downloaded_version,
    find_source_stamp,
    find_source_version,
)
from pipeline_steps.params import DownloadParams, Params


@pytest.fixture
def archive(params: Params, tmp_path: Path) -> DownloadParams:
    (tmp_path / "pairs.zip").write_bytes(b"first")
    path = str(tmp_path / "pairs.zip")
    return dataclasses.replace(params.download, source="archive", path=path)


def test_the_version_of_an_archive_depends_on_its_bytes(archive: DownloadParams) -> None:
    path = Path(archive.path or "")
    first = find_source_version(archive), find_source_stamp(archive)
    assert first == (find_source_version(archive), find_source_stamp(archive))
    os.utime(path, ns=(1, 1))
    assert find_source_version(archive) == first[0]
    assert find_source_stamp(archive) != first[1]
    path.write_bytes(b"other")
    assert find_source_version(archive) != first[0]


def test_a_relative_path_is_the_main_repositorys_below_a_temporary_experiment(
    archive: DownloadParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = find_source_version(archive)
    relative = dataclasses.replace(archive, path="pairs.zip")
    temporary = tmp_path / ".dvc" / "tmp" / "exps" / "one"
    temporary.mkdir(parents=True)
    monkeypatch.chdir(temporary)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert find_source_version(relative) == version
    with pytest.raises(SourceError, match=f"{tmp_path}/other.zip: no such file"):
        find_source_version(dataclasses.replace(archive, path="other.zip"))
    (temporary / "pairs.zip").write_bytes(b"tracked, at the experiment's commit")
    assert find_source_version(relative) != version


def test_the_version_of_a_folder_depends_on_its_files(
    archive: DownloadParams, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"a")
    params = dataclasses.replace(archive, path=str(folder))
    version, stamp = find_source_version(params), find_source_stamp(params)
    (folder / "b.png").write_bytes(b"b")
    assert find_source_version(params) != version
    assert find_source_stamp(params) != stamp


def test_the_version_of_the_sample_depends_on_its_params_only(params: Params) -> None:
    version = find_source_version(params.download)
    assert find_source_version(dataclasses.replace(params.download, path="x")) == version
    assert find_source_version(dataclasses.replace(params.download, sample_seed=2)) != version
    assert find_source_stamp(params.download) is None


def test_the_version_of_a_download_is_that_of_its_source(
    archive: DownloadParams, params: Params, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    kaggle = dataclasses.replace(params.download, source="kaggle", kaggle_dataset="o/n/versions/3")
    page = "https://www.kaggle.com/datasets/o/n"
    records = [
        (params.download, {"version": str(params.download.sample_seed)}),
        (archive, {"sha256": hashlib.sha256(b"first").hexdigest()}),
        (kaggle, {"origin": page, "version": "3"}),
    ]
    for source, record in records:
        assert find_downloaded_version(tmp_path, source) is None
        write_json(raw / "source.json", {"source": source.source, **record})
        assert find_downloaded_version(raw, source) == find_source_version(source)
        for other, _ in records:
            if other is not source:
                assert find_downloaded_version(raw, other) is None
    assert find_downloaded_version(raw, dataclasses.replace(kaggle, kaggle_dataset="o/m")) is None


def test_a_missing_archive_is_named(archive: DownloadParams) -> None:
    missing = dataclasses.replace(archive, path="/nowhere/pairs.zip")
    for find in (find_source_version, find_source_stamp):
        with pytest.raises(SourceError, match=r"/nowhere/pairs\.zip: no such file"):
            find(missing)
