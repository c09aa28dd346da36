"""The download, through the real kagglehub, from a loopback server."""

import base64
import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from email.utils import formatdate
from itertools import repeat
from pathlib import Path

import pytest
import yaml

from pipeline_steps.base.errors import DiskSpaceError, SourceError
from pipeline_steps.download import kaggle
from pipeline_steps.download.kaggle import KaggleDownload, download_kaggle, write_pairs_zip
from pipeline_steps.download.resumable_download import NUM_TRIES
from tests.pipeline_steps.download.archive_bytes import bytes_read, flip_byte, noise, tar_of, zip_of
from tests.pipeline_steps.download.kaggle_server import (
    KEY,
    SIGNATURE,
    TOKEN,
    USERNAME,
    Cut,
    Fault,
    KaggleServer,
    Reply,
    Stall,
    exclusive_port,
)

HANDLE = "somebody/pairs-of-pictures"
PAGE = f"https://www.kaggle.com/datasets/{HANDLE}"
REPOSITORY = Path(kaggle.__file__).parents[2]

pytestmark = pytest.mark.xdist_group("kaggle-port")


PICTURES = {"train/1.png": noise(900_000), "val/2.png": noise(600_000)}
ARCHIVE = zip_of(PICTURES)
HALF = len(ARCHIVE) // 2


def crc32c(content: bytes) -> bytes:
    """Computed bit by bit, from the definition."""
    register = 0xFFFFFFFF
    for byte in content:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return (register ^ 0xFFFFFFFF).to_bytes(4, "big")


def base64_md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


@pytest.fixture(autouse=True)
def port() -> Iterator[None]:
    with exclusive_port():
        yield


@pytest.fixture(autouse=True)
def kaggle_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Send the client to the loopback server, in a home without a kaggle.json."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_KERNEL_RUN_TYPE", "KAGGLE_API_V1_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "HOME": str(home),
        "KAGGLE_CONFIG_DIR": str(home / ".kaggle"),
        "KAGGLEHUB_CACHE": str(tmp_path / "cache"),
        "KAGGLE_API_ENVIRONMENT": "TEST",
        "KAGGLE_USERNAME": USERNAME,
        "KAGGLE_KEY": KEY,
        "NO_PROXY": "localhost,127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    return home


@pytest.fixture
def server(port: None) -> Iterator[KaggleServer]:
    with KaggleServer(ARCHIVE) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "work"


def download(folder: Path, handle: str = HANDLE, *, timeout_s: float = 5.0) -> KaggleDownload:
    return download_kaggle(handle, folder, retry_delay_s=0.01, timeout_s=timeout_s)


def refuse(folder: Path, handle: str = HANDLE, *, timeout_s: float = 5.0) -> str:
    """Download, expect a failure and return its message, one line without a secret."""
    with pytest.raises(SourceError) as caught:
        download(folder, handle, timeout_s=timeout_s)
    shown = "".join(traceback.format_exception(caught.value))
    assert all(secret not in shown for secret in (KEY, TOKEN, SIGNATURE))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def partial_file(folder: Path) -> Path:
    return folder / "somebody.pairs-of-pictures.v1.part"


def cut_download(server: KaggleServer, folder: Path) -> None:
    """Leave a partial file with half of the archive."""
    server.fail(storage=[Cut(HALF), *[Reply(503)] * (NUM_TRIES - 1)])
    refuse(folder)
    assert 0 < partial_file(folder).stat().st_size <= HALF


# --- a download without faults ---


def test_archive_is_kept_unchanged(server: KaggleServer, folder: Path) -> None:
    server.hashes = {"md5": base64_md5(ARCHIVE)}

    done = download(folder)

    assert done == KaggleDownload(
        archive=folder / "somebody.pairs-of-pictures.v1.zip",
        handle=HANDLE,
        version=1,
        bytes=len(ARCHIVE),
        sha256=hashlib.sha256(ARCHIVE).hexdigest(),
    )
    assert done.archive.read_bytes() == ARCHIVE
    assert names(folder) == {done.archive.name, "somebody.pairs-of-pictures.v1.json"}
    assert server.num_body_bytes_sent == len(ARCHIVE)


def test_tar_is_downloaded_too(server: KaggleServer, folder: Path) -> None:
    server.archive = tar_of({"1.png": noise(50_000)}, compression="gz")

    done = download(folder)

    assert done.archive.name == "somebody.pairs-of-pictures.v1.tar.gz"
    assert done.archive.read_bytes() == server.archive


def test_download_of_unknown_length_succeeds(server: KaggleServer, folder: Path) -> None:
    server.sends_length = False
    server.fail(storage=[Cut(HALF)])

    assert "came damaged" in refuse(folder)
    assert download(folder).archive.read_bytes() == ARCHIVE


def test_verified_version_is_not_downloaded_again(server: KaggleServer, folder: Path) -> None:
    first = download(folder)
    num_calls = len(server.storage_calls)

    assert download(folder) == first
    assert len(server.storage_calls) == num_calls


def test_verified_pinned_version_needs_no_network(folder: Path) -> None:
    with KaggleServer(ARCHIVE):
        first = download(folder, f"{HANDLE}/versions/1")

    assert download(folder, f"{HANDLE}/versions/1") == first


def test_archive_changed_on_disk_is_downloaded_again(server: KaggleServer, folder: Path) -> None:
    done = download(folder)
    time.sleep(0.02)  # longer than the resolution of file times
    done.archive.write_bytes(flip_byte(ARCHIVE, HALF))

    assert download(folder).archive.read_bytes() == ARCHIVE
    assert server.num_body_bytes_sent == 2 * len(ARCHIVE)


def test_invalid_record_is_ignored(server: KaggleServer, folder: Path) -> None:
    done = download(folder)
    done.archive.with_suffix(".json").write_text("{")

    assert download(folder) == done


def test_new_version_is_downloaded(server: KaggleServer, folder: Path) -> None:
    old = download(folder)
    server.version, server.archive = 2, zip_of({"3.png": noise(1000)})

    new = download(folder)

    assert (old.version, new.version) == (1, 2)
    assert new.archive.read_bytes() == server.archive
    assert old.archive.read_bytes() == ARCHIVE


def test_pinned_version_is_requested(server: KaggleServer, folder: Path) -> None:
    server.version = 5

    assert download(folder, f"{HANDLE}/versions/3").version == 3
    assert server.asked_versions == [3]
    assert "GetDataset" not in server.api_calls


def test_credentials_are_not_sent_to_the_storage(server: KaggleServer, folder: Path) -> None:
    download(folder)

    assert [call.authorization for call in server.storage_calls] == [None]


@pytest.mark.parametrize("place", ["kaggle.json", "access_token", "KAGGLE_API_TOKEN"])
def test_credentials_are_read_from_the_usual_places(
    server: KaggleServer,
    folder: Path,
    kaggle_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    monkeypatch.delenv("KAGGLE_USERNAME")
    monkeypatch.delenv("KAGGLE_KEY")
    (kaggle_home / ".kaggle").mkdir()
    if place == "KAGGLE_API_TOKEN":
        monkeypatch.setenv(place, TOKEN)
    else:
        login = json.dumps({"username": USERNAME, "key": KEY})
        (kaggle_home / ".kaggle" / place).write_text(login if "." in place else TOKEN)

    assert download(folder).bytes == len(ARCHIVE)


def test_secrets_are_never_shown(
    server: KaggleServer, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    server.fail(storage=[Cut(HALF), Reply(503)])

    download(folder)

    shown = "".join(capfd.readouterr())
    assert "trying again" in shown
    assert all(secret not in shown for secret in (KEY, SIGNATURE, "Authorization"))


# --- how often the archive is read ---

LARGE = zip_of({f"{k}.png": noise(8_000_000) for k in range(3)})


@pytest.fixture
def warm(server: KaggleServer, tmp_path: Path) -> None:
    """Import the modules and read the certificates that a download needs."""
    write_pairs_zip(download(tmp_path / "warm"), tmp_path / "warm/pairs.zip")
    server.archive = LARGE
    server.hashes = {"md5": base64_md5(LARGE)}


def test_zip_is_hashed_while_it_is_downloaded_and_not_read_again(
    warm: None, server: KaggleServer, folder: Path
) -> None:
    before = bytes_read()

    done = download(folder)
    sha256 = write_pairs_zip(done, folder / "raw/pairs.zip")

    assert bytes_read() - before < 0.1 * len(LARGE)
    assert sha256 == done.sha256 == hashlib.sha256(LARGE).hexdigest()
    assert (folder / "raw/pairs.zip").samefile(done.archive)


def test_resumed_download_reads_its_first_part_once(
    warm: None, server: KaggleServer, folder: Path
) -> None:
    server.fail(storage=[Cut(len(LARGE) // 2), *[Reply(503)] * (NUM_TRIES - 1)])
    refuse(folder)
    num_held_bytes = partial_file(folder).stat().st_size
    server.fail(storage=[Cut(1_000_000)])
    before = bytes_read()

    assert download(folder).sha256 == hashlib.sha256(LARGE).hexdigest()
    assert num_held_bytes <= bytes_read() - before < num_held_bytes + 0.1 * len(LARGE)


def test_known_version_is_read_only_if_its_size_or_time_has_changed(
    warm: None, server: KaggleServer, folder: Path
) -> None:
    first = download(folder)
    before = bytes_read()
    assert download(folder) == first
    assert bytes_read() - before < 0.1 * len(LARGE)

    os.utime(first.archive)
    for num_reads in (1, 0):
        before = bytes_read()
        assert download(folder) == first
        assert num_reads <= (bytes_read() - before) / len(LARGE) < num_reads + 0.1
    assert len(server.storage_calls) == 2


def test_record_without_a_time_is_verified_by_the_hash(server: KaggleServer, folder: Path) -> None:
    """A record as earlier releases wrote it."""
    done = download(folder)
    record_path = done.archive.with_suffix(".json")
    record = json.loads(record_path.read_text())
    del record["mtime_ns"]
    record_path.write_text(json.dumps(record))

    assert download(folder) == done
    assert len(server.storage_calls) == 1


def test_zip_is_copied_where_no_link_is_possible(
    server: KaggleServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_link(*_: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "link", refuse_link)
    done = download(folder)

    write_pairs_zip(done, folder / "raw/pairs.zip")

    assert (folder / "raw/pairs.zip").read_bytes() == ARCHIVE
    assert not (folder / "raw/pairs.zip").samefile(done.archive)


@pytest.mark.slow
def test_dvcs_cache_the_output_and_the_work_folder_share_one_file(
    server: KaggleServer, tmp_path: Path
) -> None:
    """DVC makes the file read-only; a rerun, a lost cache and a new version still work."""
    repository = tmp_path / "repository"
    (repository / ".dvc").mkdir(parents=True)
    shutil.copy(REPOSITORY / ".dvc/config", repository / ".dvc/config")
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    params["download"] |= {"source": "kaggle", "kaggle_dataset": HANDLE}
    (repository / "params.yaml").write_text(yaml.safe_dump(params))
    stage = {"cmd": "python -m pipeline_steps download", "outs": ["data/raw"]}
    (repository / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"download": stage}}))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(REPOSITORY)}

    def run(*command: str) -> str:
        return subprocess.check_output(command, cwd=repository, env=environment, text=True)

    def reproduce_and_count_links(version: int) -> int:
        run("dvc", "repro", "-f")
        assert "up to date" in run("dvc", "status")
        work = repository / f".work/download/somebody.pairs-of-pictures.v{version}.zip"
        raw = repository / "data/raw/pairs.zip"
        assert raw.samefile(work)
        assert raw.read_bytes() == server.archive
        return raw.stat().st_nlink

    run("git", "init", "--quiet")
    for _ in range(2):
        assert reproduce_and_count_links(version=1) == 3
    shutil.rmtree(repository / ".dvc/cache")
    assert reproduce_and_count_links(version=1) == 3
    assert len(server.storage_calls) == 1
    server.version, server.archive = 2, zip_of({"3.png": noise(1000)})
    assert reproduce_and_count_links(version=2) == 3


# --- interrupted downloads ---


def test_cut_download_resumes_where_it_stopped(server: KaggleServer, folder: Path) -> None:
    server.hashes = {"md5": base64_md5(ARCHIVE)}
    server.fail(storage=[Cut(HALF)])

    assert download(folder).archive.read_bytes() == ARCHIVE

    cut, rest = server.storage_calls
    assert 0 < rest.first_byte <= cut.num_bytes_sent == HALF
    assert rest.num_bytes_sent == len(ARCHIVE) - rest.first_byte


def test_killed_download_resumes_where_it_stopped(server: KaggleServer, folder: Path) -> None:
    server.fail(storage=[Stall(HALF)])
    code = f"from {kaggle.__name__} import *; download_kaggle({HANDLE!r}, Path({str(folder)!r}))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 30
    while not (partial_file(folder).exists() and partial_file(folder).stat().st_size > 0):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    num_held_bytes = partial_file(folder).stat().st_size

    assert names(folder) == {partial_file(folder).name, f"{partial_file(folder).name}.json"}
    assert download(folder).archive.read_bytes() == ARCHIVE
    assert server.storage_calls[1].first_byte == num_held_bytes > 0
    assert server.storage_calls[1].num_bytes_sent == len(ARCHIVE) - num_held_bytes


def test_complete_download_killed_before_its_checks_is_not_downloaded_again(
    server: KaggleServer, folder: Path
) -> None:
    cut_download(server, folder)
    partial_file(folder).write_bytes(ARCHIVE)
    num_calls = len(server.storage_calls)

    assert download(folder).archive.read_bytes() == ARCHIVE
    assert len(server.storage_calls) == num_calls


def test_silent_server_times_out(server: KaggleServer, folder: Path) -> None:
    server.fail(storage=[Stall(HALF)])

    assert download(folder, timeout_s=0.5).archive.read_bytes() == ARCHIVE
    assert len(server.storage_calls) == 2


def test_error_page_is_never_appended(server: KaggleServer, folder: Path) -> None:
    page = Reply(500, {"Content-Type": "text/html"}, b"<html>" * 1000)
    server.fail(storage=[Cut(HALF), page])

    assert download(folder).archive.read_bytes() == ARCHIVE
    _, failed, rest = server.storage_calls
    assert failed.first_byte == rest.first_byte > 0


def test_error_page_sent_as_the_rest_is_refused(server: KaggleServer, folder: Path) -> None:
    cut_download(server, folder)
    server.archive = b"<html>" + bytes(len(ARCHIVE) - 6)

    assert "damaged" in refuse(folder)
    assert names(folder) == set()


def test_rest_cut_without_a_length_resumes(server: KaggleServer, folder: Path) -> None:
    cut_download(server, folder)
    server.sends_length = False
    server.fail(storage=[Cut(1000)])

    assert download(folder).archive.read_bytes() == ARCHIVE
    cut, rest = server.storage_calls[-2:]
    assert rest.first_byte == cut.first_byte + 1000


def test_download_restarts_if_the_storage_ignores_the_range(
    server: KaggleServer, folder: Path
) -> None:
    complete = Reply(200, {"Content-Type": "application/zip"}, ARCHIVE)
    server.fail(storage=[Cut(HALF), complete])

    assert download(folder).archive.read_bytes() == ARCHIVE
    assert len(server.storage_calls) == 2


def test_part_that_was_not_requested_is_never_appended(server: KaggleServer, folder: Path) -> None:
    cut_download(server, folder)
    num_missing_bytes = len(ARCHIVE) - partial_file(folder).stat().st_size
    content_range = f"bytes 0-{num_missing_bytes - 1}/{len(ARCHIVE)}"
    server.fail(storage=[Reply(206, {"Content-Range": content_range}, ARCHIVE[:num_missing_bytes])])

    assert download(folder).archive.read_bytes() == ARCHIVE


def test_archive_rebuilt_by_kaggle_is_downloaded_again(server: KaggleServer, folder: Path) -> None:
    server.hashes = {"md5": base64_md5(ARCHIVE)}
    cut_download(server, folder)
    server.archive = zip_of({name: content[::-1] for name, content in PICTURES.items()})
    server.hashes = {"md5": base64_md5(server.archive)}

    assert download(folder).archive.read_bytes() == server.archive
    assert len(server.archive) == len(ARCHIVE)


@pytest.mark.parametrize("other", [zip_of({"1.png": noise(1_400_000)}), zip_of({"1.png": b"1"})])
def test_two_archives_are_never_joined(server: KaggleServer, folder: Path, other: bytes) -> None:
    cut_download(server, folder)
    server.archive = other

    assert download(folder).archive.read_bytes() == other


@pytest.mark.parametrize(
    "page",
    [
        Reply(200, {"Content-Type": "text/html; charset=utf-8"}, b"<html>Sign in</html>"),
        Reply(200, {"Content-Type": "text/html"}, b"\n<!doctype html>" + bytes(len(ARCHIVE) - 16)),
        Reply(200, {}, b"  <html>Sign in</html>"),
        Reply(200, {"Content-Type": "application/octet-stream"}, b"try again in a minute"),
        Reply(206, {"Content-Type": "text/html", "Content-Range": "bytes 0-19/20"}, b"<" * 20),
        Reply(206, {"Content-Range": f"bytes {HALF}-{len(ARCHIVE)}/{len(ARCHIVE) + 1}"}, b"x"),
        Reply(416),
        Reply(200, {"Content-Type": "application/zip", "ETag": '"other"'}, b""),
    ],
    ids=["login page", "of its size", "no type", "text", "206", "other total", "416", "empty"],
)
def test_what_is_not_the_archive_leaves_the_downloaded_part_whole(
    server: KaggleServer, folder: Path, page: Reply
) -> None:
    cut_download(server, folder)
    part = partial_file(folder).read_bytes()
    server.storage_calls.clear()
    server.fail(storage=[page] * 2 * NUM_TRIES)
    said = refuse(folder)
    assert partial_file(folder).read_bytes() == part
    if page.status == 200 and b"<" in page.body[:3]:
        assert re.match(r"127\.0\.0\.1 sent a web page instead of the archive \(.*is kept$", said)

    server.fail()
    server.storage_calls.clear()
    assert download(folder).archive.read_bytes() == ARCHIVE
    assert [call.first_byte for call in server.storage_calls] == [len(part)]


def test_a_rest_with_another_etag_is_not_appended(server: KaggleServer, folder: Path) -> None:
    server.etag = '"one"'
    cut_download(server, folder)
    server.archive = zip_of({name: content[::-1] for name, content in PICTURES.items()})
    server.etag = '"two"'
    assert download(folder).archive.read_bytes() == server.archive


def test_a_whole_archive_continues_the_part_without_losing_it(
    server: KaggleServer, folder: Path
) -> None:
    cut_download(server, folder)
    part = partial_file(folder).read_bytes()
    whole = Reply(200, {"Content-Type": "application/zip"}, ARCHIVE)
    server.ignores_range = True
    server.fail(storage=[Cut(1000)] * NUM_TRIES)
    refuse(folder)
    assert partial_file(folder).read_bytes() == part
    server.fail(storage=[whole])
    assert download(folder).archive.read_bytes() == ARCHIVE


# --- what Kaggle rejects ---


def test_wrong_credentials_are_refused_at_once(
    server: KaggleServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_KEY", "another-secret")

    message = refuse(folder)

    assert message.startswith("Kaggle rejected the credentials (401)")
    assert "kaggle.com/settings" in message
    assert "another-secret" not in message
    assert len(server.api_calls) == 1


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(403), f"open {PAGE} while signed in, accept its terms"),
        (Reply(404), f"Kaggle has no {HANDLE} (404)"),
        (Reply(200, JSON, b'{"code": 403, "message": "Permission denied"}'), "(403)"),
        (Reply(200, {"Content-Type": "text/html"}, b"<html>"), "is not Kaggle's"),
        (Reply(429, {"Retry-After": "3600"}), "(429): run again in 3600 s"),
    ],
    ids=["terms", "missing", "in the body of a 200", "login page", "limit of an hour"],
)
def test_rejection_by_kaggle_is_reported_at_once(
    server: KaggleServer, folder: Path, reply: Reply, message: str
) -> None:
    server.fail(api=repeat(reply))

    shown = refuse(folder)

    assert message in shown
    assert "no credentials" not in shown
    assert len(server.api_calls) == 1


def test_rejection_by_the_storage_is_reported_at_once(server: KaggleServer, folder: Path) -> None:
    server.fail(storage=repeat(Reply(403)))

    assert "no credentials" not in refuse(folder)
    assert len(server.storage_calls) == 1


@pytest.mark.parametrize(
    ("api", "message"),
    [([], "none were found (401)"), ([Reply(403)], "no credentials were found either")],
    ids=["401", "403"],
)
def test_missing_credentials_are_reported(
    server: KaggleServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    api: list[Fault],
    message: str,
) -> None:
    monkeypatch.delenv("KAGGLE_KEY")
    server.fail(api=api)

    assert message in refuse(folder)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Reply(429, {"Retry-After": "0"}), "(429), 5 times over: run again later"),
        (Reply(502), "internal error (502), 5 times over"),
        (Cut(1000), "connection to Kaggle was cut"),
    ],
    ids=["rate limit", "failure", "cut"],
)
def test_persistent_failure_is_reported_after_the_last_try(
    server: KaggleServer, folder: Path, fault: Fault, message: str
) -> None:
    server.fail(storage=repeat(fault))

    assert message in refuse(folder)
    assert len(server.storage_calls) == NUM_TRIES
    assert not any(name.endswith(".zip") for name in names(folder))


@pytest.mark.parametrize("token", ["secret" * 100, "secret\nwith a line break", "secret…"])
def test_token_that_can_not_be_sent_is_not_shown(
    server: KaggleServer, folder: Path, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", token)

    message = refuse(folder)

    assert "credentials can't be" in message
    assert "secret" not in message


def test_invalid_credentials_file_is_named(
    server: KaggleServer, folder: Path, kaggle_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KAGGLE_KEY")
    (kaggle_home / ".kaggle").mkdir()
    (kaggle_home / ".kaggle" / "kaggle.json").write_text(f"{{{KEY}")

    assert "credentials can't be read" in refuse(folder)


def test_missing_version_is_named(server: KaggleServer, folder: Path) -> None:
    server.fail(api=repeat(Reply(404)))

    assert f"Kaggle has no {HANDLE} version 9 (404)" in refuse(folder, f"{HANDLE}/versions/9")
    assert names(folder) == set()


@pytest.mark.parametrize(
    ("when", "tolerance_s"),
    [(lambda: "100", 0), (lambda: formatdate(time.time() + 100, usegmt=True), 50)],
    ids=["delay", "date"],
)
def test_download_is_retried_after_the_pause_of_a_rate_limit(
    server: KaggleServer,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    when: Callable[[], str],
    tolerance_s: float,
) -> None:
    pauses_s: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses_s.append)
    server.fail(api=[None, Reply(429, {"Retry-After": when()})])

    assert download(folder).bytes == len(ARCHIVE)
    assert pauses_s == [pytest.approx(100, abs=tolerance_s)]


@pytest.mark.parametrize("faults", [{"api": [Reply(500)]}, {"storage": [Reply(503)] * 3}])
def test_download_is_retried_after_a_failure_of_kaggle(
    server: KaggleServer, folder: Path, faults: dict[str, list[Fault]]
) -> None:
    server.fail(**faults)

    assert download(folder).bytes == len(ARCHIVE)


def test_missing_network_is_reported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "connection to localhost failed (ConnectionError)" in refuse(folder)
    monkeypatch.delenv("KAGGLE_KEY")
    assert "failed (ConnectionError; no Kaggle token was found either), 5" in refuse(folder)


def test_too_little_disk_space_is_reported_before_the_download(
    server: KaggleServer, folder: Path
) -> None:
    server.claimed_bytes = 10**15

    expected = f"^the rest of the archive needs 1000000067 MB in {folder}"
    with pytest.raises(DiskSpaceError, match=expected):
        download(folder)

    assert len(server.storage_calls) == 1


BAD_HANDLES = ["", "pairs", "a/b/c", "../b", "a/..", "a/b\n", PAGE]
BAD_VERSIONS = [f"a/b/versions/{version}" for version in ("0", "x", "3/4")]


@pytest.mark.parametrize("handle", BAD_HANDLES + BAD_VERSIONS)
def test_bad_handle_is_refused(folder: Path, handle: str) -> None:
    assert "write it as owner/name" in refuse(folder, handle)
    assert not folder.exists()


# --- damaged archives ---


@pytest.mark.parametrize(
    ("body", "damage"),
    [
        (flip_byte(ARCHIVE, len(ARCHIVE) - 7), "its directory is broken"),
        (ARCHIVE[:-30], "its directory is broken"),
        (zip_of({}), "it holds no file"),
        (b"this is not an archive", "no whole zip or tar"),
    ],
    ids=["flipped byte in the directory", "cut", "empty", "text"],
)
def test_damaged_archive_is_refused_and_removed(
    server: KaggleServer, folder: Path, body: bytes, damage: str
) -> None:
    server.archive = body

    message = refuse(folder)

    assert message.startswith(f"the archive of {HANDLE} version 1 came damaged")
    assert damage in message
    assert names(folder) == set()


@pytest.mark.parametrize("compression", ["gz", "xz"])
def test_damaged_tar_is_refused_by_member_and_removed(
    server: KaggleServer, folder: Path, compression: str
) -> None:
    server.archive = flip_byte(tar_of(PICTURES, compression=compression), 700_000)
    done = download(folder)

    with pytest.raises(SourceError, match=r"came damaged .*'val/2\.png'.* run again"):
        write_pairs_zip(done, folder / "raw/pairs.zip")

    assert not done.archive.exists()
    assert not (folder / "raw/pairs.zip").exists()
    server.archive = tar_of(PICTURES, compression=compression)
    write_pairs_zip(download(folder), folder / "raw/pairs.zip")
    with zipfile.ZipFile(folder / "raw/pairs.zip") as pairs:
        assert {name: pairs.read(name) for name in pairs.namelist()} == PICTURES


@pytest.mark.parametrize("digest", ["md5", "crc32c"])
def test_flipped_byte_is_detected_by_the_hash_of_the_storage(
    server: KaggleServer, folder: Path, digest: str
) -> None:
    # A plain tar has no checksums of its members' contents.
    sent = tar_of({"1.png": noise(50_000)})
    digests = {"md5": hashlib.md5(sent).digest(), "crc32c": crc32c(sent)}
    server.hashes = {digest: base64.b64encode(digests[digest]).decode()}
    server.archive = flip_byte(sent, 20_000)

    assert f"its {digest} is not the storage's" in refuse(folder)
    assert names(folder) == set()

    server.archive = sent
    assert download(folder).archive.read_bytes() == sent


def test_flipped_byte_before_the_cut_is_refused(server: KaggleServer, folder: Path) -> None:
    server.hashes = {"md5": base64_md5(ARCHIVE)}
    cut_download(server, folder)
    held = partial_file(folder).read_bytes()
    partial_file(folder).write_bytes(flip_byte(held, 1000))

    assert "its md5 is not the storage's" in refuse(folder)
    assert names(folder) == set()


def test_hash_of_the_first_response_is_checked_at_the_end(
    server: KaggleServer, folder: Path
) -> None:
    """The response to a range request may lack the hashes."""
    server.hashes = {"md5": base64_md5(ARCHIVE)}
    cut_download(server, folder)
    server.hashes = {}
    server.archive = flip_byte(ARCHIVE, len(ARCHIVE) - 30)  # in the directory, which no CRC covers

    assert "its md5 is not the storage's" in refuse(folder)


def test_importing_the_module_does_not_import_kagglehub() -> None:
    code = f"import sys, {kaggle.__name__}; sys.exit('kagglehub' in sys.modules)"
    environment = {"PATH": os.defpath}

    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=environment, check=True)
