"""The download, through the real kagglehub, from a loopback server."""

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from email.utils import formatdate
from itertools import repeat
from pathlib import Path

import pytest

from pipeline_steps.base.errors import DiskSpaceError, SourceError
from pipeline_steps.download import kaggle
from pipeline_steps.download.kaggle import KaggleDownload, download_kaggle
from pipeline_steps.download.resumable_download import NUM_TRIES
from tests.pipeline_steps.download.archive_bytes import flip_byte, noise, tar_of, zip_of
from tests.pipeline_steps.download.kaggle_server import (
    KEY,
    SIGNATURE,
    STALL_S,
    TOKEN,
    USERNAME,
    Cut,
    Fault,
    KaggleServer,
    Reply,
    Stall,
    own_port,
)

HANDLE = "somebody/pairs-of-pictures"
PAGE = f"https://www.kaggle.com/datasets/{HANDLE}"
REPOSITORY = Path(kaggle.__file__).parents[2]

pytestmark = pytest.mark.xdist_group("kaggle-port")


PICTURES = {"train/1.png": noise(900_000), "val/2.png": noise(600_000)}
ARCHIVE = zip_of(PICTURES)
HALF = len(ARCHIVE) // 2


def crc32c(content: bytes) -> bytes:
    """The definition, bit by bit."""
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
    with own_port():
        yield


@pytest.fixture(autouse=True)
def kaggle_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Send the client to the loopback server, as someone who has a kaggle.json nowhere."""
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
    """Download in vain and return the message, one line without a secret."""
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


def break_off(server: KaggleServer, folder: Path) -> None:
    """Leave half of a download."""
    server.fail(storage=[Cut(HALF), *[Reply(503)] * (NUM_TRIES - 1)])
    refuse(folder)
    assert 0 < partial_file(folder).stat().st_size <= HALF


# --- a download that goes well ---


def test_archive_is_left_as_it_came(server: KaggleServer, folder: Path) -> None:
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


def test_tar_is_taken_too(server: KaggleServer, folder: Path) -> None:
    server.archive = tar_of({"1.png": noise(50_000)}, compression="gz")

    done = download(folder)

    assert done.archive.name == "somebody.pairs-of-pictures.v1.tar.gz"
    assert done.archive.read_bytes() == server.archive


def test_length_may_be_unknown(server: KaggleServer, folder: Path) -> None:
    server.tells_length = False
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
    done.archive.write_bytes(flip_byte(ARCHIVE, HALF))

    assert download(folder).archive.read_bytes() == ARCHIVE
    assert server.num_body_bytes_sent == 2 * len(ARCHIVE)


def test_broken_record_is_no_record(server: KaggleServer, folder: Path) -> None:
    done = download(folder)
    done.archive.with_suffix(".json").write_text("{")

    assert download(folder) == done


def test_new_version_is_noticed(server: KaggleServer, folder: Path) -> None:
    old = download(folder)
    server.version, server.archive = 2, zip_of({"3.png": noise(1000)})

    new = download(folder)

    assert (old.version, new.version) == (1, 2)
    assert new.archive.read_bytes() == server.archive
    assert old.archive.read_bytes() == ARCHIVE


def test_pinned_version_is_asked_for(server: KaggleServer, folder: Path) -> None:
    server.version = 5

    assert download(folder, f"{HANDLE}/versions/3").version == 3
    assert server.asked_versions == [3]
    assert "GetDataset" not in server.api_calls


def test_credentials_do_not_follow_to_the_storage(server: KaggleServer, folder: Path) -> None:
    download(folder)

    assert [call.authorization for call in server.storage_calls] == [None]


@pytest.mark.parametrize("place", ["kaggle.json", "access_token", "KAGGLE_API_TOKEN"])
def test_credentials_come_from_the_usual_places(
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


# --- a download that breaks ---


def test_cut_download_goes_on_from_where_it_stopped(server: KaggleServer, folder: Path) -> None:
    server.hashes = {"md5": base64_md5(ARCHIVE)}
    server.fail(storage=[Cut(HALF)])

    assert download(folder).archive.read_bytes() == ARCHIVE

    cut, rest = server.storage_calls
    assert 0 < rest.first_byte <= cut.num_bytes_sent == HALF
    assert rest.num_bytes_sent == len(ARCHIVE) - rest.first_byte


def test_killed_download_goes_on_from_where_it_stopped(server: KaggleServer, folder: Path) -> None:
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


def test_whole_download_killed_before_its_checks_needs_no_bytes(
    server: KaggleServer, folder: Path
) -> None:
    break_off(server, folder)
    partial_file(folder).write_bytes(ARCHIVE)
    num_calls = len(server.storage_calls)

    assert download(folder).archive.read_bytes() == ARCHIVE
    assert len(server.storage_calls) == num_calls


def test_silent_server_is_given_up(server: KaggleServer, folder: Path) -> None:
    server.fail(storage=[Stall(HALF)])
    start_s = time.monotonic()

    assert download(folder, timeout_s=0.5).archive.read_bytes() == ARCHIVE
    assert time.monotonic() - start_s < STALL_S / 2


def test_error_page_is_never_appended(server: KaggleServer, folder: Path) -> None:
    page = Reply(500, {"Content-Type": "text/html"}, b"<html>" * 1000)
    server.fail(storage=[Cut(HALF), page])

    assert download(folder).archive.read_bytes() == ARCHIVE
    _, failed, rest = server.storage_calls
    assert failed.first_byte == rest.first_byte > 0


def test_error_page_sent_as_the_rest_is_refused(server: KaggleServer, folder: Path) -> None:
    break_off(server, folder)
    server.archive = b"<html>" + bytes(len(ARCHIVE) - 6)

    assert "damaged" in refuse(folder)
    assert names(folder) == set()


def test_rest_cut_without_a_length_goes_on(server: KaggleServer, folder: Path) -> None:
    break_off(server, folder)
    server.tells_length = False
    server.fail(storage=[Cut(1000)])

    assert download(folder).archive.read_bytes() == ARCHIVE
    cut, rest = server.storage_calls[-2:]
    assert rest.first_byte == cut.first_byte + 1000


def test_storage_that_ignores_the_range_starts_anew(server: KaggleServer, folder: Path) -> None:
    whole = Reply(200, {"Content-Type": "application/zip"}, ARCHIVE)
    server.fail(storage=[Cut(HALF), whole])

    assert download(folder).archive.read_bytes() == ARCHIVE
    assert len(server.storage_calls) == 2


def test_other_part_than_asked_for_is_never_appended(server: KaggleServer, folder: Path) -> None:
    break_off(server, folder)
    num_missing_bytes = len(ARCHIVE) - partial_file(folder).stat().st_size
    content_range = f"bytes 0-{num_missing_bytes - 1}/{len(ARCHIVE)}"
    server.fail(storage=[Reply(206, {"Content-Range": content_range}, ARCHIVE[:num_missing_bytes])])

    assert download(folder).archive.read_bytes() == ARCHIVE


def test_archive_rebuilt_by_kaggle_is_downloaded_anew(server: KaggleServer, folder: Path) -> None:
    server.hashes = {"md5": base64_md5(ARCHIVE)}
    break_off(server, folder)
    server.archive = zip_of({name: content[::-1] for name, content in PICTURES.items()})
    server.hashes = {"md5": base64_md5(server.archive)}

    assert download(folder).archive.read_bytes() == server.archive
    assert len(server.archive) == len(ARCHIVE)


@pytest.mark.parametrize("other", [zip_of({"1.png": noise(1_400_000)}), zip_of({"1.png": b"1"})])
def test_two_archives_are_never_joined(server: KaggleServer, folder: Path, other: bytes) -> None:
    break_off(server, folder)
    server.archive = other

    assert download(folder).archive.read_bytes() == other


# --- what Kaggle refuses ---


def test_wrong_credentials_are_refused_at_once(
    server: KaggleServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAGGLE_KEY", "another-secret")

    message = refuse(folder)

    assert message.startswith("Kaggle refused the credentials (401)")
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
        (Reply(200, {"Content-Type": "text/html"}, b"<html>"), "is not Kaggle"),
        (Reply(429, {"Retry-After": "3600"}), "(429): run again in 3600 s"),
    ],
    ids=["terms", "missing", "in the body of a 200", "login page", "limit of an hour"],
)
def test_refusal_of_kaggle_is_told_at_once(
    server: KaggleServer, folder: Path, reply: Reply, message: str
) -> None:
    server.fail(api=repeat(reply))

    told = refuse(folder)

    assert message in told
    assert "no credentials" not in told
    assert len(server.api_calls) == 1


def test_refusal_of_the_storage_is_told_at_once(server: KaggleServer, folder: Path) -> None:
    server.fail(storage=repeat(Reply(403)))

    assert "no credentials" not in refuse(folder)
    assert len(server.storage_calls) == 1


@pytest.mark.parametrize(
    ("api", "message"),
    [([], "none were found (401)"), ([Reply(403)], "no credentials were found either")],
    ids=["401", "403"],
)
def test_missing_credentials_are_asked_for(
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
        (Reply(429, {"Retry-After": "0"}), "(429), 5 times over: try again later"),
        (Reply(502), "failure of its own (502), 5 times over"),
        (Cut(1000), "connection to Kaggle was cut"),
    ],
    ids=["rate limit", "failure", "cut"],
)
def test_what_never_passes_is_given_up(
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


def test_broken_credentials_file_is_named(
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
    "when", [lambda: "1", lambda: formatdate(time.time() + 2, usegmt=True)], ids=["delay", "date"]
)
def test_rate_limit_is_waited_out(
    server: KaggleServer, folder: Path, when: Callable[[], str]
) -> None:
    server.fail(api=[None, Reply(429, {"Retry-After": when()})])
    start_s = time.monotonic()

    assert download(folder).bytes == len(ARCHIVE)
    assert time.monotonic() - start_s >= 0.9


@pytest.mark.parametrize("faults", [{"api": [Reply(500)]}, {"storage": [Reply(503)] * 3}])
def test_failure_of_kaggle_is_waited_out(
    server: KaggleServer, folder: Path, faults: dict[str, list[Fault]]
) -> None:
    server.fail(**faults)

    assert download(folder).bytes == len(ARCHIVE)


def test_no_network_is_told(folder: Path) -> None:
    assert "connection to localhost failed (ConnectionError)" in refuse(folder)


def test_small_disk_is_told_before_the_download(server: KaggleServer, folder: Path) -> None:
    server.claimed_bytes = 10**15

    with pytest.raises(DiskSpaceError, match="the rest of the archive needs 1000000067 MB") as told:
        download(folder)

    assert str(folder) in str(told.value)
    assert len(server.storage_calls) == 1


BAD_HANDLES = ["", "pairs", "a/b/c", "../b", "a/..", "a/b\n", PAGE]
BAD_VERSIONS = [f"a/b/versions/{version}" for version in ("0", "x", "3/4")]


@pytest.mark.parametrize("handle", BAD_HANDLES + BAD_VERSIONS)
def test_bad_handle_is_refused(folder: Path, handle: str) -> None:
    assert "write it as owner/name" in refuse(folder, handle)
    assert not folder.exists()


# --- what comes damaged ---


@pytest.mark.parametrize(
    ("body", "damage"),
    [
        (flip_byte(ARCHIVE, HALF), "'train/1.png' fails its checksum"),
        (b"<html>not an archive</html>", "no whole zip or tar"),
    ],
    ids=["flipped byte", "page"],
)
def test_damaged_archive_is_refused_and_removed(
    server: KaggleServer, folder: Path, body: bytes, damage: str
) -> None:
    server.archive = body

    message = refuse(folder)

    assert message.startswith(f"the archive of {HANDLE} version 1 came damaged")
    assert damage in message
    assert names(folder) == set()


@pytest.mark.parametrize("promised", ["md5", "crc32c"])
def test_flipped_byte_is_seen_by_the_hash_of_the_storage(
    server: KaggleServer, folder: Path, promised: str
) -> None:
    # A plain tar has no checksum of its own for what its members hold.
    sent = tar_of({"1.png": noise(50_000)})
    digests = {"md5": hashlib.md5(sent).digest(), "crc32c": crc32c(sent)}
    server.hashes = {promised: base64.b64encode(digests[promised]).decode()}
    server.archive = flip_byte(sent, 20_000)

    assert f"its {promised} is not the storage's" in refuse(folder)
    assert names(folder) == set()

    server.archive = sent
    assert download(folder).archive.read_bytes() == sent


def test_flipped_byte_before_the_cut_is_refused(server: KaggleServer, folder: Path) -> None:
    server.hashes = {"md5": base64_md5(ARCHIVE)}
    break_off(server, folder)
    held = partial_file(folder).read_bytes()
    partial_file(folder).write_bytes(flip_byte(held, 1000))

    assert "its md5 is not the storage's" in refuse(folder)
    assert names(folder) == set()


def test_promise_of_the_first_answer_holds_for_the_last(server: KaggleServer, folder: Path) -> None:
    """The answer to a range may come without the hashes."""
    server.hashes = {"md5": base64_md5(ARCHIVE)}
    break_off(server, folder)
    server.hashes = {}
    server.archive = flip_byte(ARCHIVE, len(ARCHIVE) - 30)  # in the directory, unseen by CRCs

    assert "its md5 is not the storage's" in refuse(folder)


def test_importing_the_module_does_not_import_kagglehub() -> None:
    code = f"import sys, {kaggle.__name__}; sys.exit('kagglehub' in sys.modules)"
    environment = {"PATH": os.defpath}

    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, env=environment, check=True)
