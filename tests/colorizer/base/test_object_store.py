import datetime
import multiprocessing
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from colorizer.base import object_store
from colorizer.base.errors import ObjectStoreError, ObjectStoreUnreachableError
from colorizer.base.object_store import (
    delete,
    download,
    exists,
    find_file,
    list_files,
    parse_address,
    read_bytes,
    require_bucket,
    upload,
    write_bytes,
)
from tests.faults.faulty_proxy import faulty_proxy
from tests.s3_servers import SECRET_KEY, S3Server, SeaweedFS, seaweedfs
from tests.whole.prefect_stack import free_port


def message_of(error: pytest.ExceptionInfo[ObjectStoreError]) -> str:
    (line,) = str(error.value).splitlines()
    assert SECRET_KEY not in line
    return line


@pytest.mark.parametrize(
    "text", ["s3:/pairs/a", "s3://", "s3://Pairs/a", "s3://a/b", "S3://pairs/a", "s3://pa irs/a"]
)
def test_a_malformed_address_is_one_line(text: str) -> None:
    assert object_store.is_address(text)
    with pytest.raises(ObjectStoreError) as error:
        parse_address(text)
    assert message_of(error).startswith(f"{text}: must be s3://bucket/key")


def test_an_address_keeps_its_key_as_it_is() -> None:
    assert parse_address("s3://pairs/a b/ü?#.tar") == ("pairs", "a b/ü?#.tar")
    assert str(parse_address("s3://pairs/a b/ü?#.tar")) == "s3://pairs/a b/ü?#.tar"
    with pytest.raises(ObjectStoreError, match="names no file"):
        parse_address("s3://pairs/a/", needs_key=True)


@pytest.mark.usefixtures("s3_store")
def test_files_come_back_as_they_were_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "PART_BYTES", 5 << 20)  # S3's smallest
    content = bytes(range(256)) * 50_000
    (tmp_path / "large").write_bytes(content)
    upload(tmp_path / "large", "s3://pairs/a b/ü?#.tar")
    write_bytes("s3://pairs/a b/small", b"0123456789")
    object_store._client().put_object(Bucket="pairs", Key="a b/", Body=b"")  # as web pages do
    assert [(each.address, each.num_bytes) for each in list_files("s3://pairs/a b/")] == [
        ("s3://pairs/a b/small", 10),
        ("s3://pairs/a b/ü?#.tar", len(content)),
    ]
    download("s3://pairs/a b/ü?#.tar", tmp_path / "new" / "large")
    assert (tmp_path / "new" / "large").read_bytes() == content
    assert read_bytes("s3://pairs/a b/small") == b"0123456789"
    assert read_bytes("s3://pairs/a b/small", start=3, num_bytes=4) == b"3456"
    assert read_bytes("s3://pairs/a b/small", start=8, num_bytes=4) == b"89"
    delete("s3://pairs/a b/small")
    delete("s3://pairs/a b/small")
    assert not exists("s3://pairs/a b/small")


@pytest.mark.usefixtures("s3_store")
def test_more_files_are_listed_than_one_answer_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "LISTED_AT_ONCE", 2)
    for number in range(5):
        write_bytes(f"s3://pairs/n/{number}", b"")
    assert len(list(list_files("s3://pairs/n/"))) == 5
    assert list(list_files("s3://pairs/m")) == []


@pytest.mark.usefixtures("s3_store")
def test_a_download_that_is_cut_off_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bytes("s3://pairs/a", b"new content")
    target = tmp_path / "a"
    target.write_bytes(b"old")
    found = find_file("s3://pairs/a")
    assert found is not None
    monkeypatch.setattr(object_store, "find_file", lambda _: found._replace(num_bytes=99))
    with pytest.raises(ObjectStoreUnreachableError, match="11 bytes arrived of 99; try again"):
        download("s3://pairs/a", target)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.usefixtures("s3_store")
def test_a_missing_file_or_bucket_is_named(tmp_path: Path) -> None:
    assert find_file("s3://pairs/a") is None
    for fetch in (read_bytes, lambda address: download(address, tmp_path / "a")):
        with pytest.raises(ObjectStoreError) as error:
            fetch("s3://pairs/a")
        assert message_of(error) == "s3://pairs/a: there is no such file"
    (tmp_path / "b").write_bytes(b"b")
    for use in (
        require_bucket,
        find_file,
        read_bytes,
        lambda address: list(list_files(address)),
        lambda address: write_bytes(address, b""),
        lambda address: upload(tmp_path / "b", address),
    ):
        with pytest.raises(ObjectStoreError) as error:
            use("s3://no-bucket/a")
        assert message_of(error) == (
            "s3://no-bucket/a: there is no such bucket; create it, or correct the address"
        )


@pytest.mark.usefixtures("s3_store")
def test_without_credentials_or_boto3_it_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(ObjectStoreError, match="no credentials; set AWS_ACCESS_KEY_ID"):
            require_bucket("s3://pairs")
    with monkeypatch.context() as patch:
        patch.setenv("AWS_PROFILE", "nobody")
        with pytest.raises(ObjectStoreError, match=r"profile \(nobody\) could not be found"):
            require_bucket("s3://pairs")
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "me:word@store:9000")
        with pytest.raises(ObjectStoreError, match="correct AWS_ENDPOINT_URL"):
            require_bucket("s3://pairs")
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ObjectStoreError) as error:
        find_file("s3://pairs/a")
    assert message_of(error).endswith("needs boto3: pip install 'image-colorizer[s3]'")


def test_no_answer_may_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    S3Server(url).use(monkeypatch)
    (tmp_path / "a").write_bytes(b"a")
    for use in (require_bucket, lambda address: upload(tmp_path / "a", address)):
        with pytest.raises(ObjectStoreUnreachableError) as error:
            use("s3://pairs/a")
        assert message_of(error) == (
            f"s3://pairs/a: no answer from {url} (no connection); start it, or correct"
            " AWS_ENDPOINT_URL"
        )


def test_another_server_is_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_proxy(free_port()) as server:
        server.answers, server.answer_body = {"": 404}, "<html>no such page"
        S3Server(server.url).use(monkeypatch)
        for use in (require_bucket, read_bytes, find_file):
            with pytest.raises(ObjectStoreError) as error:
                use("s3://pairs/a")
            assert message_of(error) == (
                "s3://pairs/a: what answers there is no S3 server; correct AWS_ENDPOINT_URL"
            )


@pytest.mark.usefixtures("s3_store")
def test_threads_and_forked_processes_have_clients_that_work() -> None:
    write_bytes("s3://pairs/a", b"a")
    threads = [threading.Thread(target=write_bytes, args=(f"s3://pairs/{n}", b"")) for n in "123"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    child = multiprocessing.get_context("fork").Process(target=delete, args=("s3://pairs/a",))
    child.start()
    child.join(30)
    assert [each.address for each in list_files("s3://pairs")] == [f"s3://pairs/{n}" for n in "123"]


@pytest.fixture(scope="module")
def durable_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as store:
        yield store


@pytest.mark.slow
def test_a_real_store_rejects_wrong_keys_and_a_wrong_clock(
    durable_store: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    durable_store.use(monkeypatch)
    (tmp_path / "a").write_bytes(b"a")
    upload(tmp_path / "a", "s3://pairs/a")

    def reason() -> str:
        lines = set()
        for use in (require_bucket, find_file, lambda address: upload(tmp_path / "a", address)):
            with pytest.raises(ObjectStoreError) as error:
                use("s3://pairs/a")
            lines.add(message_of(error))
        (line,) = lines
        return line

    with monkeypatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        assert reason().startswith("s3://pairs/a: the access key is unknown; check AWS_ACCESS")
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        assert "the secret key is wrong; check AWS_SECRET_ACCESS_KEY" in reason()
    with monkeypatch.context() as patch:
        late = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
        patch.setattr("botocore.auth.get_current_datetime", lambda **_: late.replace(tzinfo=None))
        assert "this machine's clock, or the store's, is wrong; set it (NTP)" in reason()


@pytest.mark.slow
def test_what_a_killed_store_had_accepted_is_there_when_it_starts_again(
    durable_store: SeaweedFS, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    durable_store.use(monkeypatch)
    content = bytes(range(256)) * 100_000
    (tmp_path / "a").write_bytes(content)
    failures: list[Exception] = []

    def send() -> None:
        for number in range(100):
            try:
                upload(tmp_path / "a", f"s3://pairs/sent/{number}")
            except ObjectStoreUnreachableError as error:
                failures.append(error)
                return

    sending = threading.Thread(target=send)
    sending.start()
    while len(list(list_files("s3://pairs/sent/"))) < 2:
        time.sleep(0.05)
    durable_store.kill()
    sending.join(120)
    assert len(failures) == 1
    durable_store.start()
    stored = list(list_files("s3://pairs/sent/"))
    assert {each.num_bytes for each in stored} == {len(content)}
    for number in range(len(stored)):
        download(f"s3://pairs/sent/{number}", tmp_path / "b")
        assert (tmp_path / "b").read_bytes() == content
    upload(tmp_path / "a", f"s3://pairs/sent/{len(stored)}")
