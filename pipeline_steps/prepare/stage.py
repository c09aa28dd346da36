"""Stage 2: the raw archive → packed pairs, their manifest, and a report on them.

Reads  data/raw/pairs.zip, in place, and data/raw/source.json
Writes data/prepared/{train,val,test}.npy, train_mean.npy, manifest.csv, dataset.json
       reports/data/{report.md,counts.json,colours.csv,hues.csv,contact_sheet.png}
"""

import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from colorizer.base.files import atomic_path, write_json
from colorizer.pictures.decoder_process import DecoderProcess
from pipeline_steps.base.disk_space import require_disk_space
from pipeline_steps.base.errors import DataError
from pipeline_steps.base.paths import DATA_REPORT, PREPARED, RAW
from pipeline_steps.pairs.packed import (
    COLOUR,
    NUM_CHANNELS,
    PackedPairs,
    UInt8Array,
    read_pairs,
    write_pairs,
)
from pipeline_steps.prepare.manifest import (
    SPLITS,
    ManifestRow,
    count_pairs,
    count_reasons,
    count_verdicts,
    write_manifest,
)
from pipeline_steps.prepare.pairing import Leftover, Listing, Split, find_pairs
from pipeline_steps.prepare.reading import ColourSums, PairRules, SketchSide, find_sketch_side
from pipeline_steps.prepare.report import SHEET_PAIRS, spread, write_data_report
from pipeline_steps.prepare.splits import PlacedPairs, place_pairs
from pipeline_steps.prepare.worker_pool import PairsOnDisk, read_pairs_in_pool

MAX_REASONS_TOLD = 3


def main() -> None:
    """Prepare as ``params.yaml`` says."""
    from pipeline_steps.params import read_params

    params = read_params().prepare
    prepare(
        RAW,
        PREPARED,
        DATA_REPORT,
        image_size=params.image_size,
        sketch_side=params.sketch_side,
        val_fraction=params.val_fraction,
        test_fraction=params.test_fraction,
        near_duplicate_distance=params.near_duplicate_distance,
        max_picture_pixels=params.max_picture_pixels,
    )


def prepare(
    raw: Path,
    prepared: Path,
    report: Path,
    *,
    image_size: int,
    sketch_side: str,
    val_fraction: float,
    test_fraction: float,
    near_duplicate_distance: int,
    max_picture_pixels: int,
    workers: int | None = None,
) -> None:
    """Pack the pairs of ``raw/pairs.zip`` into ``prepared`` and report on them in ``report``.

    ``image_size`` is a power of two from 32 px; ``sketch_side`` is left, right or auto. Equal
    archives and arguments give equal bytes, whatever the number of ``workers`` (default: a core
    each). ``dataset.json`` is written last: where it lies, everything lies.

    Raises :class:`DataError` if the archive is damaged, the sketch's side can't be told, or a
    split has no pair.
    """
    _check_arguments(image_size, sketch_side, near_duplicate_distance)
    source = _read_source(raw / "source.json")
    archive_path = raw / "pairs.zip"
    listing, side = _list_pairs(archive_path, sketch_side, max_picture_pixels)
    rules = PairRules(
        image_size=image_size, sketch_side=side, max_picture_pixels=max_picture_pixels
    )
    require_space_for_pairs(len(listing.candidates), prepared, image_size)
    (prepared / "dataset.json").unlink(missing_ok=True)
    with _work_folder(prepared) as work_folder:
        staged = read_pairs_in_pool(
            archive_path, listing.candidates, rules, work_folder, workers=workers
        )
        fractions = {"val": val_fraction, "test": test_fraction}
        placed = place_pairs(listing, staged, fractions, near_duplicate_distance)
        rows = _manifest_rows(listing, staged, placed)
        _check_splits(archive_path, rows)
        packed = [_write_split(prepared, split, staged, placed) for split in SPLITS]
        dataset = _describe(rows, packed, rules, source)
        write_manifest(prepared / "manifest.csv", rows)
        write_data_report(
            report,
            rows=rows,
            colours={split: _colours(staged, placed.numbers(split)) for split in SPLITS},
            dataset=dataset,
            sheet_pairs=list(staged.rows(spread(sorted(placed.splits), SHEET_PAIRS))),
        )
    write_json(prepared / "dataset.json", dataset)
    counts = ", ".join(f"{len(pairs)} {pairs.path.stem}" for pairs in packed)
    print(f"prepare: {counts}; {count_verdicts(rows)['rejected']} rejected, see {report}/report.md")


def require_space_for_pairs(num_pairs: int, prepared: Path, image_size: int) -> None:
    """Raise :class:`DiskSpaceError` if so many packed pairs don't fit on the disk.

    They lie there twice for a moment: as they were read, and sorted into splits.
    """
    row_bytes = image_size**2 * NUM_CHANNELS
    require_disk_space(prepared, num_pairs * 2 * row_bytes, f"packing {num_pairs} pairs")


# --- before any picture --------------------------------------------------------------------------


def _check_arguments(image_size: int, sketch_side: str, near_duplicate_distance: int) -> None:
    if image_size < 32 or image_size.bit_count() != 1:
        raise ValueError(f"image_size must be a power of two ≥ 32, got {image_size}")
    if sketch_side not in ("auto", "left", "right"):
        raise ValueError(f"sketch_side must be auto, left or right, got {sketch_side!r}")
    if not 0 <= near_duplicate_distance < 64:
        raise ValueError(f"near_duplicate_distance must be 0..63, got {near_duplicate_distance}")


def _read_source(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        raise DataError(f"{path}: not JSON; run `dvc repro -f download`") from None


def _open_archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; `dvc repro download` makes it") from None
    except (zipfile.BadZipFile, EOFError, ValueError, RuntimeError) as error:
        raise DataError(f"{path}: damaged ({error}); run `dvc repro -f download`") from None


def _list_pairs(
    archive_path: Path, sketch_side: str, max_picture_pixels: int
) -> tuple[Listing, SketchSide | None]:
    with _open_archive(archive_path) as archive:
        listing = find_pairs(archive.namelist())
        return listing, _resolve_side(archive, listing, sketch_side, max_picture_pixels)


def _resolve_side(
    archive: zipfile.ZipFile, listing: Listing, sketch_side: str, max_picture_pixels: int
) -> SketchSide | None:
    side_by_side = [each for each in listing.candidates if each.sketch_member is None]
    if not side_by_side:
        return None
    if sketch_side != "auto":
        return "left" if sketch_side == "left" else "right"
    order = _evenly(len(side_by_side))
    with DecoderProcess(max_pixels=max_picture_pixels) as guard:
        return find_sketch_side(archive, (side_by_side[number] for number in order), guard)


def _evenly(num_items: int) -> Iterator[int]:
    """Go through 0..N−1 so that the first few of them are spread evenly already."""
    # a stride near N over the golden ratio, prime to N, never bunches
    stride = next(
        stride
        for stride in range(max(1, int(num_items * 0.618)), num_items + 1)
        if np.gcd(stride, num_items) == 1
    )
    return (step * stride % num_items for step in range(num_items))


@contextmanager
def _work_folder(prepared: Path) -> Iterator[Path]:
    """Make a folder beside ``prepared``, without what a killed run left in it."""
    folder = prepared.parent / f".{prepared.name}.work"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- manifest ------------------------------------------------------------------------------------


def _manifest_rows(listing: Listing, staged: PairsOnDisk, placed: PlacedPairs) -> list[ManifestRow]:
    packed_rows = {
        number: row for split in SPLITS for row, number in enumerate(placed.numbers(split))
    }
    rows = [_leftover_row(leftover) for leftover in listing.leftovers]
    for number, candidate in enumerate(listing.candidates):
        facts = staged.facts[number]
        split, reason = placed.dropped.get(
            number, (placed.splits.get(number, candidate.split), facts.reason)
        )
        rows.append(
            ManifestRow(
                id=candidate.id,
                member=candidate.member.name,
                sketch_member=candidate.sketch_member.name if candidate.sketch_member else "",
                sha256=facts.sha256,
                sketch_sha256=facts.sketch_sha256,
                split=split,
                row=packed_rows.get(number),
                width=facts.width,
                height=facts.height,
                verdict="rejected" if reason else "accepted",
                reason=reason,
            )
        )
    return rows


def _leftover_row(leftover: Leftover) -> ManifestRow:
    return ManifestRow(
        id="",
        member=leftover.member.name,
        sketch_member="",
        sha256="",
        sketch_sha256="",
        split=None,
        row=None,
        width=None,
        height=None,
        verdict=leftover.verdict,
        reason=leftover.reason,
    )


def _check_splits(archive_path: Path, rows: Sequence[ManifestRow]) -> None:
    pairs = count_pairs(rows)
    empty = [split for split in SPLITS if not pairs[split]]
    if not empty:
        return
    counts = ", ".join(f"{count} {split}" for split, count in pairs.items())
    reasons = {**count_reasons(rows, "rejected"), **count_reasons(rows, "ignored")}
    most = sorted(reasons.items(), key=lambda item: -item[1])[:MAX_REASONS_TOLD]
    told = "; ".join(f"{count} × {reason}" for reason, count in most) or "no members"
    raise DataError(
        f"{archive_path}: no pairs for {' and '.join(empty)} ({counts});"
        f" members left out: {told}; see what download.source brings"
    )


# --- outputs -------------------------------------------------------------------------------------


def _write_split(
    prepared: Path, split: Split, staged: PairsOnDisk, placed: PlacedPairs
) -> PackedPairs:
    numbers = placed.numbers(split)
    mean = _MeanPicture(staged.image_size)
    path = prepared / f"{split}.npy"
    write_pairs(
        path,
        mean.passing(staged.rows(numbers)),
        num_pairs=len(numbers),
        image_size=staged.image_size,
    )
    if split == "train":
        with atomic_path(prepared / "train_mean.npy") as partial, partial.open("wb") as file:
            file.write(_npy_bytes(mean.picture()))
    return read_pairs(path)


def _npy_bytes(picture: UInt8Array) -> bytes:
    # numpy's own writing tells no reason when the disk is full
    buffer = io.BytesIO()
    np.save(buffer, picture)
    return buffer.getvalue()


class _MeanPicture:
    """The mean colour picture of rows that stream through."""

    def __init__(self, image_size: int) -> None:
        self._sum: npt.NDArray[np.int64] = np.zeros((image_size, image_size, 3), np.int64)
        self._num_rows = 0

    def passing(self, rows: Iterator[UInt8Array]) -> Iterator[UInt8Array]:
        """Pass the rows on, adding each up."""
        for row in rows:
            self._sum += row[..., COLOUR]
            self._num_rows += 1
            yield row

    def picture(self) -> UInt8Array:
        """Round the mean: H×W×3 ``uint8``."""
        return np.rint(self._sum / self._num_rows).astype(np.uint8)


def _colours(staged: PairsOnDisk, numbers: Sequence[int]) -> list[ColourSums]:
    sums = (staged.facts[number].colours for number in numbers)
    return [each for each in sums if each is not None]


def _describe(
    rows: Sequence[ManifestRow], packed: Sequence[PackedPairs], rules: PairRules, source: Any
) -> dict[str, Any]:
    files = {pairs.path.name: pairs.sha256() for pairs in packed}
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
    return {
        "image_size": rules.image_size,
        "sketch_side": rules.sketch_side,
        "pairs": count_pairs(rows),
        "verdicts": count_verdicts(rows),
        "files": files,
        "fingerprint": hashlib.sha256(lines.encode()).hexdigest(),
        "source": source,
    }
