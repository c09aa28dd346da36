"""A model trained elsewhere comes home as a zip: what is registered, and what is refused."""

import shutil
import sys
import zipfile
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import pytest

from colorizer.base.files import file_sha256, write_json
from colorizer.model.folder import compute_checksums
from pipeline_steps.base.errors import DataError
from pipeline_steps.base.json_and_csv import read_json
from pipeline_steps.base.paths import EXPORTED_MODEL, TRAIN_WORK
from pipeline_steps.register import bundle, command
from pipeline_steps.tracking import mlflow_server, runs
from tests.pipeline_steps.register.outputs import NAME, REPOSITORY, read_versions

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def elsewhere(outputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another machine's outputs, with their bundle."""
    folder = Path(shutil.copytree(outputs, tmp_path_factory.mktemp("elsewhere") / "clone"))
    with chdir(folder):
        (folder / "reports/evaluate/per_picture.csv").write_text("id,l1\n")
        bundle.write_bundle(folder / "colorizer.zip")
    return folder


@pytest.fixture
def home(in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    shutil.copy(REPOSITORY / "params.yaml", in_folder)
    return in_folder


def register(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["register", *arguments])
    command.main()


def test_a_bundle_is_registered_with_its_record_and_origin(
    elsewhere: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = elsewhere / "colorizer.zip"
    for state in ("is now version 1", "had this model already as version 1"):
        register(monkeypatch, "--from", str(file))
        told, registered = capsys.readouterr().out.strip().splitlines()
        assert "best epoch 1 of 2, code of unknown commit" in told
        assert state in registered
    client = mlflow_server.connect()
    version = client.get_model_version_by_alias(NAME, "candidate")
    assert version.tags["model_sha256"] == file_sha256(
        elsewhere / EXPORTED_MODEL / "generator.onnx"
    )
    assert version.tags["generator.l1"] == "0.1"
    assert version.tags["git_commit"] == "unknown"  # not this clone's
    assert version.tags[runs.ORIGIN_TAG] == (
        f"colorizer.zip: training t1, run {'0' * 32} on http://elsewhere"
    )
    assert version.run_id is not None
    run = client.get_run(version.run_id)
    assert run.data.tags[runs.ORIGIN_TAG] == version.tags[runs.ORIGIN_TAG]
    assert run.info.status == "FINISHED"
    assert len(client.get_metric_history(version.run_id, "val/l1")) == 2
    artifacts = {artifact.path for artifact in client.list_artifacts(version.run_id, "evaluation")}
    names = ("evaluation.json", "per_picture.csv", "random.png")
    assert artifacts == {f"evaluation/{name}" for name in names}
    assert not EXPORTED_MODEL.exists()
    assert list(bundle.REGISTER_WORK.iterdir()) == []
    assert [folder.name[:9] for folder in TRAIN_WORK.iterdir()] == ["imported-"]


def test_a_clone_without_a_model_names_what_makes_one(in_folder: Path) -> None:
    with pytest.raises(DataError, match=r"no model: models/colorizer doesn't exist; `make repro`"):
        bundle.write_bundle(in_folder / "colorizer.zip")


@pytest.mark.slow
def test_an_exported_folder_and_a_zip_of_it_need_no_record(
    elsewhere: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch, "--from", str(elsewhere / EXPORTED_MODEL))
    made = shutil.make_archive(str(home / "by hand"), "zip", elsewhere / EXPORTED_MODEL)
    register(monkeypatch, "--from", made)
    with zipfile.ZipFile(elsewhere / "colorizer.zip") as archive:
        archive.extractall(home / "unpacked")
    register(monkeypatch, "--from", "unpacked")
    assert read_versions() == [1]


@pytest.mark.slow
def test_a_commit_in_the_bundle_is_the_versions_commit(
    elsewhere: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = {"mlflow.source.git.commit": "c" * 40, "git.dirty": "true", "mlflow.user": "else"}
    with zipfile.ZipFile(elsewhere / "colorizer.zip") as archive:
        archive.extractall(home / "unpacked")
    write_json(home / "unpacked/training/git.json", tags)
    register(monkeypatch, "--from", "unpacked")
    client = mlflow_server.connect()
    version = client.get_model_version_by_alias(NAME, "candidate")
    assert (version.tags["git_commit"], version.tags["git_dirty"]) == ("c" * 40, "true")
    assert version.run_id is not None
    assert client.get_run(version.run_id).data.tags.get("mlflow.user") != "else"


def rewrite(change: Callable[[zipfile.ZipFile, str, bytes], None]) -> Callable[[Path, Path], None]:
    """A zip made from another, each member by ``change``."""

    def make(source: Path, target: Path) -> None:
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
            for name in old.namelist():
                change(new, name, old.read(name))

    return make


@rewrite
def no_checksums(new: zipfile.ZipFile, name: str, content: bytes) -> None:
    if not name.endswith("checksums.json"):
        new.writestr(name, content)


@rewrite
def other_weights(new: zipfile.ZipFile, name: str, content: bytes) -> None:
    new.writestr(name, content + b"\0" if name.endswith(".safetensors") else content)


@rewrite
def two_models(new: zipfile.ZipFile, name: str, content: bytes) -> None:
    new.writestr(name, content)
    new.writestr(f"other/{name}", content)


@rewrite
def no_card(new: zipfile.ZipFile, name: str, content: bytes) -> None:
    if not name.endswith("README.md"):
        new.writestr(name, content)


@rewrite
def no_name(new: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name)
    if name.endswith("config.json"):
        entry.filename = ""
    new.writestr(entry, content)


@rewrite
def a_link(new: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name)
    if name.endswith("config.json"):
        entry.create_system, entry.external_attr, content = 3, 0o120777 << 16, b"/etc/passwd"
    new.writestr(entry, content)


@rewrite
def a_bomb(new: zipfile.ZipFile, name: str, content: bytes) -> None:
    if name.endswith("history.csv"):
        content = bytes(bundle.MAX_RECORD_FILE_BYTES + 1)
    new.writestr(name, content, zipfile.ZIP_DEFLATED)


@rewrite
def a_broken_run_file(new: zipfile.ZipFile, name: str, content: bytes) -> None:
    new.writestr(name, b"{}" if name.endswith("run.json") else content)


def truncated(source: Path, target: Path) -> None:
    target.write_bytes(source.read_bytes()[:-200])


def a_flipped_byte(source: Path, target: Path) -> None:
    content = bytearray(source.read_bytes())
    content[content.index(b"epoch,val_l1")] ^= 1
    target.write_bytes(content)


def a_flipped_byte_in_bzip2(source: Path, target: Path) -> None:
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_BZIP2) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    content = bytearray(target.read_bytes())
    content[content.index(b"BZh") + 12] ^= 0xFF
    target.write_bytes(content)


def an_unknown_compression(source: Path, target: Path) -> None:
    content = bytearray(source.read_bytes())
    place = content.index(b"PK\x01\x02")
    while place >= 0:
        content[place + 10] = 99  # its compression in the directory, and in its own header
        header = int.from_bytes(content[place + 42 : place + 46], "little")
        content[header + 8] = 99
        place = content.find(b"PK\x01\x02", place + 4)
    target.write_bytes(content)


def text(source: Path, target: Path) -> None:
    target.write_text("not found")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (no_checksums, "holds 0 exported folders"),
        (two_models, "holds 2 exported folders"),
        (other_weights, r"colorizer/generator\.safetensors: differs"),
        (no_card, r"colorizer/README\.md: no such file"),
        (no_name, r"colorizer/config\.json: no such file"),
        (a_link, r"colorizer/config\.json: differs"),
        (a_bomb, r"training/history\.csv has 67 MB unpacked, more than"),
        (a_broken_run_file, r"training/run\.json: damaged .*; make the bundle again"),
        (truncated, "no zip, or damaged"),
        (a_flipped_byte, "no zip, or damaged .*CRC"),
        (a_flipped_byte_in_bzip2, "no zip, or damaged .*Invalid data stream"),
        (an_unknown_compression, "no zip, or damaged .*compression"),
        (text, "no zip, or damaged"),
    ],
)
def test_what_is_no_whole_bundle_is_refused_by_name(
    elsewhere: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path, Path], None],
    reason: str,
) -> None:
    make(elsewhere / "colorizer.zip", home / "bad.zip")
    with pytest.raises(DataError, match=rf"^bad\.zip: .*{reason}|^bad\.zip: {reason}") as caught:
        register(monkeypatch, "--from", "bad.zip")
    assert "\n" not in str(caught.value)
    assert "tmp" not in str(caught.value)
    assert list(bundle.REGISTER_WORK.iterdir()) == []


def test_a_missing_file_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"away\.zip: no such file"):
        register(monkeypatch, "--from", "away.zip")


def test_names_that_lead_outside_are_not_unpacked(
    elsewhere: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exported folder may be anywhere in the zip; nothing else is written."""

    @rewrite
    def outside(new: zipfile.ZipFile, name: str, content: bytes) -> None:
        new.writestr(f"../../out/{name}", content)
        new.writestr(f"/{home}/absolute/{name}.txt", content)

    outside(elsewhere / "colorizer.zip", home / "odd.zip")
    before = set(home.parent.rglob("*"))
    with bundle.open_bundle(Path("odd.zip")) as opened:
        assert opened.model.folder.resolve().is_relative_to(home / bundle.REGISTER_WORK)
        assert opened.files()[0] is not None
    assert set(home.parent.rglob("*")) - before == {
        home / bundle.REGISTER_WORK.parent,
        home / bundle.REGISTER_WORK,
    }


@pytest.mark.parametrize(
    ("section", "reason"),
    [
        ("params", "no params"),
        ("data", "no fingerprint of its data"),
        ("training", "no result of its training"),
        ("evaluation", r"no test results \(evaluation\)"),
        ("evaluation.copy_sketch", r"no test results \(evaluation\.copy_sketch\.l1\)"),
    ],
)
def test_a_model_without_results_is_not_registered(
    elsewhere: Path, home: Path, monkeypatch: pytest.MonkeyPatch, section: str, reason: str
) -> None:
    """Neither one from elsewhere nor the one that was exported here."""
    shutil.copytree(elsewhere / EXPORTED_MODEL, EXPORTED_MODEL)
    config = read_json(EXPORTED_MODEL / "config.json")
    branch, _, name = section.rpartition(".")
    del (config[branch] if branch else config)[name]
    write_json(EXPORTED_MODEL / "config.json", config)
    write_json(EXPORTED_MODEL / "checksums.json", compute_checksums(EXPORTED_MODEL))
    for arguments in ((), ("--from", str(EXPORTED_MODEL))):
        with pytest.raises(DataError, match=reason):
            register(monkeypatch, *arguments)
