"""Hostile archives through the real stages: results, error messages, memory and disk."""

import io
import os
import stat
import struct
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from tests.faults.report import FULL, report
from tests.whole.clone import Clone, make_small_clone

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.filterwarnings("ignore:Duplicate name"),
]

MANY_MEMBERS = 100_000 if FULL else 20_000
MEMORY_BOUND_MIB = 900
DISK_BOUND_MIB = 60
GIB = 1 << 30


def picture(number: int, size: int = 64) -> bytes:
    """A side-by-side pair as a PNG: a coloured disc and its outline, different for each number."""
    y, x = np.mgrid[:size, :size] - size // 2
    radius = np.hypot(x + number % 7, y - number % 5)
    edge = size * (0.15 + 0.05 * (number % 5))
    colour, sketch = (np.full((size, size, 3), 255, np.uint8) for _ in range(2))
    colour[radius < edge] = (250, 40 * (number % 6), 8 * (number % 30))
    sketch[np.abs(radius - edge) < 1.5] = 0
    file = io.BytesIO()
    Image.fromarray(np.concatenate([colour, sketch], axis=1)).save(file, "PNG")
    return file.getvalue()


PAIRS = {f"data/{'val' if n < 4 else 'train'}/{n:03}.png": picture(n) for n in range(20)}


def zip_of(path: Path, *extra: tuple[zipfile.ZipInfo | str, bytes], deflate: bool = False) -> Path:
    compression = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in (*PAIRS.items(), *extra):
            archive.writestr(name, content)
    return path


def tar_of(path: Path, *extra: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in PAIRS.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member, content in extra:
            archive.addfile(member, io.BytesIO(content))
    return path


def special(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (mode | 0o644) << 16
    return info


def tar_special(name: str, kind: bytes, link: str = "") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, b""


def encrypted(folder: Path) -> Path:
    path = zip_of(folder / "a.zip")
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = content.find(signature)
        while at >= 0:
            content[at + offset] |= 1
            at = content.find(signature, at + 1)
    path.write_bytes(content)
    return path


def truncated(folder: Path) -> Path:
    path = zip_of(folder / "a.zip")
    path.write_bytes(path.read_bytes()[:-500])
    return path


def wrong_crc(folder: Path) -> Path:
    path = zip_of(folder / "a.zip")
    content = bytearray(path.read_bytes())
    content[content.find(b"IDAT") + 20] ^= 1
    path.write_bytes(content)
    return path


def not_utf_8(folder: Path) -> Path:
    path = zip_of(folder / "a.zip", ("data/train/xüx.png", picture(30)))
    content = path.read_bytes().replace("xüx".encode(), b"x\xc3\x28x")
    path.write_bytes(content)
    return path


def wrong_sizes(folder: Path) -> Path:
    """The zip's directory gives a picture a thousand times its real size."""
    path = zip_of(folder / "a.zip")
    content = bytearray(path.read_bytes())
    at = content.find(b"PK\x01\x02")
    size = struct.unpack_from("<I", content, at + 24)[0]
    struct.pack_into("<I", content, at + 24, size * 1000)
    path.write_bytes(content)
    return path


def bomb_in_png(folder: Path) -> Path:
    """A compression ratio of 1,000:1: half a megabyte that unpacks to half a gigabyte."""
    return zip_of(folder / "a.zip", ("data/train/bomb.png", bytes(GIB // 2)), deflate=True)


def tar_bomb(folder: Path, kind: str) -> Path:
    member = tarfile.TarInfo("data/train/bomb.png")
    member.size = 2 * GIB if FULL else GIB // 8
    path = folder / f"a.tar.{kind}"

    class Zeros(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            buffer[:] = bytes(len(buffer))
            return len(buffer)

    with tarfile.open(path, f"w:{kind}", **({"preset": 0} if kind == "xz" else {})) as archive:  # type: ignore[call-overload]
        for name, content in PAIRS.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        archive.addfile(member, io.BufferedReader(Zeros()))
    return path


def giant_header(folder: Path) -> Path:
    """A GNU long name of half a gigabyte, which tarfile would read into memory."""
    import gzip

    path = folder / "a.tar.gz"
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, GIB // 2
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        for _ in range(GIB // 2 // (1 << 20)):
            file.write(bytes(1 << 20))
        file.write(bytes(1024))
    return path


def sparse(folder: Path) -> Path:
    """A sparse member of a terabyte, in GNU's old format."""
    info = tarfile.TarInfo("data/train/sparse.png")
    info.type = tarfile.GNUTYPE_SPARSE
    info.size = 0
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:398] = b"%011o\0" % (1 << 32)  # offset of the first piece
    header[398:410] = b"%011o\0" % 0
    header[483:495] = b"\x80" + (1 << 40).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = tar_of(folder / "a.tar")
    with tarfile.open(path) as archive:
        end = max(member.offset_data + -(-member.size // 512) * 512 for member in archive)
    content = path.read_bytes()[:end]
    path.write_bytes(content + bytes(header) + bytes(1024))
    return path


def many_members(folder: Path) -> Path:
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in PAIRS.items():
            archive.writestr(name, content)
        for number in range(MANY_MEMBERS):
            archive.writestr(f"data/train/x{number:06}.png", b"no picture")
    return path


def folder_with_a_fifo(folder: Path) -> Path:
    root = folder / "pairs"
    for name, content in PAIRS.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    os.mkfifo(root / "data" / "train" / "fifo.png")
    (root / "data" / "loop").symlink_to(root)
    (root / "data" / "train" / "link.png").symlink_to("/etc/passwd")
    return root


class Case(NamedTuple):
    make: Callable[[Path], Path]
    refusal: str | None
    """Part of the error message; None if the archive is accepted with only its valid pairs."""
    reason: str = ""
    """A reason for rejection in the manifest."""
    pairs: int = 20


def zipped(*extra: tuple[zipfile.ZipInfo | str, bytes]) -> Callable[[Path], Path]:
    return lambda folder: zip_of(folder / "a.zip", *extra)


def tarred(*extra: tuple[tarfile.TarInfo, bytes]) -> Callable[[Path], Path]:
    return lambda folder: tar_of(folder / "a.tar", *extra)


def only(names: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with zipfile.ZipFile(folder / "a.zip", "w") as archive:
            archive.writestr("readme.txt", "pairs")
            for name in list(PAIRS)[:names]:
                archive.writestr(name, PAIRS[name])
        return folder / "a.zip"

    return make


def mixed_sizes(folder: Path) -> Path:
    return zip_of(folder / "a.zip", ("data/train/large.png", picture(33, 500)))


EVIL = picture(31)
CASES = {
    "zip-slip": Case(zipped(("../../evil.png", EVIL)), None, "unsafe name"),
    "absolute path": Case(zipped(("/tmp/evil.png", EVIL)), None, "unsafe name"),
    "zip, symlink": Case(
        zipped((special("data/train/l.png", stat.S_IFLNK), b"/etc/passwd")), None, "no plain file"
    ),
    "zip, device": Case(
        zipped((special("data/train/d.png", stat.S_IFCHR), b"")), None, "no plain file"
    ),
    "zip, duplicate name": Case(zipped(("data/train/010.png", EVIL)), None, "name occurs twice"),
    "zip, encrypted": Case(encrypted, "encrypted; unpack it"),
    "zip, truncated": Case(truncated, "neither a zip nor a tar, or cut short"),
    "zip, wrong CRC": Case(wrong_crc, None, "damaged in the archive", 19),
    "zip, nested": Case(
        zipped(("data/train/inner.zip", b"PK\5\6")), None, "an archive inside the archive"
    ),
    "zip, many members": Case(many_members, None, "not a picture: no valid header"),
    "zip, 1,000:1 bomb": Case(bomb_in_png, None, "too large"),
    "zip, lying sizes": Case(wrong_sizes, None),
    "zip, name not UTF-8": Case(not_utf_8, "damaged zip"),
    "zip, control characters": Case(zipped(("data/train/\x1b[2J\n.png", b"x")), None, "not a pic"),
    "tar, ../ and absolute": Case(
        tarred(tar_special("../evil.png", tarfile.REGTYPE), tar_special("/e", tarfile.REGTYPE)),
        None,
    ),
    "tar, links and devices": Case(
        tarred(
            tar_special("data/train/a.png", tarfile.SYMTYPE, "/etc/passwd"),
            tar_special("data/train/b.png", tarfile.LNKTYPE, "/etc/passwd"),
            tar_special("data/train/c.png", tarfile.CHRTYPE),
            tar_special("data/train/d.png", tarfile.FIFOTYPE),
        ),
        None,
    ),
    "tar.gz bomb": Case(lambda folder: tar_bomb(folder, "gz"), "more than 0.02 GB unpacked"),
    "tar.bz2 bomb": Case(lambda folder: tar_bomb(folder, "bz2"), "more than 0.02 GB unpacked"),
    "tar.xz bomb": Case(lambda folder: tar_bomb(folder, "xz"), "more than 0.02 GB unpacked"),
    "tar, giant header": Case(giant_header, "a name or header of 536870912 bytes"),
    "tar, sparse terabyte": Case(sparse, "more than 0.02 GB unpacked"),
    "folder, FIFO, links": Case(folder_with_a_fifo, None),
    "no pairs at all": Case(only(0), "no pairs for"),
    "one pair": Case(only(1), "no pairs for"),
    "mixed sizes": Case(mixed_sizes, None, pairs=21),
}

SLOW = ("tar.bz2 bomb", "tar.xz bomb")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    clone = make_small_clone(tmp_path_factory.mktemp("archives") / "clone")
    clone.set_params(
        {
            "prepare": {
                "max_picture_pixels": 1_000_000,
                "max_truth_difference": 0,
                "pair_checks": "off",
            }
        }
    )
    return clone


@pytest.mark.parametrize("name", [name for name in CASES if FULL or name not in SLOW])
def test_an_archive_is_accepted_or_refused_with_its_reason_within_bounds(
    clone: Clone, tmp_path: Path, name: str
) -> None:
    case = CASES[name]
    source = case.make(tmp_path)
    is_bomb = "bomb" in name or "terabyte" in name or "header" in name
    limit_gb = 0.02 if is_bomb and "zip" not in name else 1.0
    clone.set_params(
        {"download": {"source": "archive", "path": str(source), "max_unpacked_gb": limit_gb}}
    )
    clone.run("rm", "-rf", "data")
    start_s = time.monotonic()
    peak_mib, printed, code = 0, "", 0
    for stage in ("download", "prepare"):
        done = clone.run(sys.executable, "-c", MEASURED, stage, check=False)
        peak_mib = max(peak_mib, int(done.stdout.splitlines()[-1]))
        printed, code = done.stderr, done.returncode
        if code:
            break
    disk_mib = sum(f.stat().st_size for f in (clone.folder / "data").rglob("*") if f.is_file())
    disk_mib //= 1 << 20
    assert "Traceback" not in printed, printed
    message = printed.strip().splitlines()[-1] if code else "accepted"
    if case.refusal is None:
        assert code == 0, printed
        manifest = (clone.folder / "data/prepared/manifest.csv").read_text()
        assert manifest.count(",accepted,") == case.pairs
        assert case.reason in manifest
    else:
        assert code == 1
        assert message.startswith("error: ")
        assert case.refusal in message
    assert peak_mib < MEMORY_BOUND_MIB
    assert disk_mib < DISK_BOUND_MIB
    assert not list(Path("/tmp").glob("evil*"))
    report(
        f"archive | {name} | {message.replace(str(tmp_path), '…')[:100]}"
        f" {case.reason and f'(one: {case.reason})'} | {time.monotonic() - start_s:.1f} s |"
        f" {peak_mib} MiB | disk {disk_mib} MiB"
    )


MEASURED = """
import resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", "pipeline_steps", sys.argv[1]])
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(usage.ru_maxrss // 1024)
sys.exit(done.returncode)
"""
