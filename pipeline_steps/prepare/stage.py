"""Stage 2: the raw archive → packed or sharded pairs, their manifest, and a report on them.

Reads  data/raw/pairs.zip, in place, and data/raw/source.json
Writes data/prepared/{train,val,test}.npy, train_mean.npy, manifest.csv, shards.json, dataset.json
       reports/data/{report.md,counts.json,colours.csv,hues.csv,contact_sheet.png,
                     measures.png,worst_pairs.png}
       at prepare.shards, if that is set: the train pairs as shards, which train.npy then samples
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from colorizer.base.archive_damage import is_damage
from colorizer.base.files import write_json
from pipeline_steps.base.disk_space import require_disk_space
from pipeline_steps.base.errors import DataError
from pipeline_steps.base.paths import DATA_REPORT, PREPARED, RAW
from pipeline_steps.pairs.packed import NUM_CHANNELS
from pipeline_steps.pairs.shard_places import open_place
from pipeline_steps.pairs.shards import ShardList, shard_bytes, write_shard_list
from pipeline_steps.prepare.archive_index import IndexedArchive, index_archive
from pipeline_steps.prepare.colour_statistics import SplitColours, add_up
from pipeline_steps.prepare.dataset import describe_dataset, read_source
from pipeline_steps.prepare.listing import list_pairs
from pipeline_steps.prepare.manifest import (
    MANIFEST_ROW,
    SPLITS,
    Tally,
    manifest_rows,
    write_manifest,
)
from pipeline_steps.prepare.pair_report import Judgement, judge
from pipeline_steps.prepare.pairing import LEFTOVER, LISTED_PAIR, Listing
from pipeline_steps.prepare.reading import PairChecks, PairRules, SketchSide
from pipeline_steps.prepare.records import write_records
from pipeline_steps.prepare.report import SHEET_PAIRS, split_remarks, spread, write_data_report
from pipeline_steps.prepare.shard_files import write_train_shards
from pipeline_steps.prepare.sketch_side import find_sketch_side
from pipeline_steps.prepare.split_files import write_split
from pipeline_steps.prepare.splits import place_pairs
from pipeline_steps.prepare.worker_pool import Engine, UnsplitPairs, pack_pairs_in_pool

MAX_REASONS_SHOWN = 3


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
        pair_checks=params.pair_checks,
        val_fraction=params.val_fraction,
        test_fraction=params.test_fraction,
        max_truth_difference=params.max_truth_difference,
        max_picture_pixels=params.max_picture_pixels,
        engine=params.engine,
        shards=params.shards,
        shard_pairs=params.shard_pairs,
    )


def prepare(
    raw: Path,
    prepared: Path,
    report: Path,
    *,
    image_size: int,
    sketch_side: str,
    pair_checks: PairChecks,
    val_fraction: float,
    test_fraction: float,
    max_truth_difference: int,
    max_picture_pixels: int,
    engine: Engine = "local",
    shards: str | None = None,
    shard_pairs: int = 4096,
    workers: int | None = None,
) -> None:
    """Pack the pairs of ``raw/pairs.zip`` into ``prepared`` and report on them in ``report``.

    ``image_size`` is a power of two from 32 px; ``sketch_side`` is left, right or auto;
    ``pair_checks`` says how strictly pairs are rejected whose halves don't belong together. Equal
    archives and arguments give equal bytes, whatever the ``engine`` and the number of ``workers``
    (default: one per core). ``dataset.json`` is written last: where it exists, all outputs do.
    With ``shards``, a folder or an ``s3://`` address, the train pairs go there, in shards of
    ``shard_pairs``.

    Raises :class:`DataError` if the archive is damaged, the sketch's side is ambiguous, the halves
    of most pairs don't belong together, or a split has no pair.
    """
    _check_arguments(image_size, sketch_side, max_truth_difference)
    source = read_source(raw / "source.json")
    archive_path = raw / "pairs.zip"
    with _work_folder(prepared) as work_folder:
        archive = _index_archive(archive_path, work_folder)
        listing, side = _list_pairs(archive, sketch_side, max_picture_pixels, work_folder)
        rules = PairRules(
            image_size=image_size,
            sketch_side=side,
            max_picture_pixels=max_picture_pixels,
            pair_checks=pair_checks,
        )
        place = open_place(shards) if shards else None
        require_space_for_pairs(len(listing.pairs), prepared, image_size, copies=1 if place else 2)
        if place:
            place.require_ready(shard_bytes(len(listing.pairs), image_size))
        (prepared / "dataset.json").unlink(missing_ok=True)
        unsplit = pack_pairs_in_pool(
            archive, listing.pairs, rules, work_folder, engine=engine, workers=workers
        )
        judgement = judge(listing, unsplit, work_folder)
        _check_most_agree(archive_path, judgement)
        fractions = {"val": val_fraction, "test": test_fraction}
        placed = place_pairs(listing, unsplit, fractions, max_truth_difference, work_folder)
        tally = Tally()
        rows = write_records(
            work_folder / "rows",
            tally.adding(manifest_rows(listing, unsplit, placed)),
            MANIFEST_ROW,
        )
        _check_splits(archive_path, tally)
        listed = ShardList(shard_pairs=shard_pairs, image_size=image_size, address=shards)
        if place:
            train, written = write_train_shards(prepared, unsplit, placed, place, shard_pairs)
            listed = replace(listed, shards=written)
        else:
            train = write_split(prepared, "train", unsplit, placed)
        others = [write_split(prepared, split, unsplit, placed) for split in SPLITS[1:]]
        write_shard_list(prepared / "shards.json", listed)
        dataset = describe_dataset(
            tally, [train, *others], listed, rules, source, val_is_test=listing.val_is_test
        )
        write_manifest(prepared / "manifest.csv", rows, work_folder)
        write_data_report(
            report,
            tally=tally,
            colours={split: _colours(unsplit, placed.numbers(split)) for split in SPLITS},
            dataset=dataset,
            sheet_pairs=list(unsplit.read(spread(placed.numbers(), SHEET_PAIRS))),
            judgement=replace(judgement, left_out=placed.dropped),
            read=unsplit.read,
        )
    write_json(prepared / "dataset.json", dataset)
    counts = ", ".join(f"{count} {split}" for split, count in tally.pairs.items())
    if place:
        counts += f"; train in {len(listed.shards)} shards at {shards}"
    for remark in split_remarks(tally.pairs, val_is_test=listing.val_is_test):
        print(f"prepare: {remark}")
    print(f"prepare: {counts}; {tally.verdicts['rejected']} rejected, see {report}/report.md")


def require_space_for_pairs(
    num_pairs: int, prepared: Path, image_size: int, *, copies: int = 2
) -> None:
    """Raise :class:`DiskSpaceError` if so many packed pairs don't fit on the disk.

    At the peak they are on disk twice: as they were packed, and sorted into splits.
    """
    pair_bytes = image_size**2 * NUM_CHANNELS
    require_disk_space(prepared, num_pairs * copies * pair_bytes, f"packing {num_pairs} pairs")


def _check_arguments(image_size: int, sketch_side: str, max_truth_difference: int) -> None:
    if image_size < 32 or image_size.bit_count() != 1:
        raise ValueError(f"image_size must be a power of two ≥ 32, got {image_size}")
    if sketch_side not in ("auto", "left", "right"):
        raise ValueError(f"sketch_side must be auto, left or right, got {sketch_side!r}")
    if not 0 <= max_truth_difference <= 255:
        raise ValueError(f"max_truth_difference must be 0..255, got {max_truth_difference}")


def _list_pairs(
    indexed: IndexedArchive, sketch_side: str, max_picture_pixels: int, work_folder: Path
) -> tuple[Listing, SketchSide | None]:
    with indexed.open() as archive:
        listing = _stored(list_pairs(archive, max_picture_pixels), work_folder)
        return listing, find_sketch_side(archive, listing, sketch_side, max_picture_pixels)


def _stored(listing: Listing, work_folder: Path) -> Listing:
    """The same, in files."""
    pairs = write_records(work_folder / "listed", listing.pairs, LISTED_PAIR)
    leftovers = write_records(work_folder / "leftovers", listing.leftovers, LEFTOVER)
    return replace(listing, pairs=pairs, leftovers=leftovers)


def _index_archive(path: Path, work_folder: Path) -> IndexedArchive:
    try:
        return index_archive(path, work_folder)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; `dvc repro download` makes it") from None
    except Exception as error:
        if not is_damage(error):
            raise
        raise DataError(f"{path}: damaged ({error}); run `dvc repro -f download`") from None


@contextmanager
def _work_folder(prepared: Path) -> Iterator[Path]:
    """Make a folder next to ``prepared``, without what a killed process left in it."""
    folder = prepared.parent / f".{prepared.name}.work"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_most_agree(archive_path: Path, judgement: Judgement) -> None:
    if 2 * judgement.num_rejected <= len(judgement):
        return
    first = next(judgement.rejected())
    kinds = Counter(pair.reason.split(":", 1)[0] for pair in judgement.rejected())
    shown = "; ".join(f"{count} × {kind}" for kind, count in kinds.most_common(MAX_REASONS_SHOWN))
    raise DataError(
        f"{archive_path}: the halves of most pairs don't belong together, "
        f"{judgement.num_rejected} of {len(judgement)}: {shown}"
        f" (such as {first.id!r}: {first.reason}); check how"
        " the pairs were made, or set prepare.pair_checks to lenient or off"
    )


def _check_splits(archive_path: Path, tally: Tally) -> None:
    empty = [split for split in SPLITS if not tally.pairs[split]]
    if not empty:
        return
    counts = ", ".join(f"{count} {split}" for split, count in tally.pairs.items())
    reasons = {**tally.reasons("rejected"), **tally.reasons("ignored")}
    most = sorted(reasons.items(), key=lambda item: -item[1])[:MAX_REASONS_SHOWN]
    shown = "; ".join(f"{count} × {reason}" for reason, count in most) or "no members"
    raise DataError(
        f"{archive_path}: no pairs for {' and '.join(empty)} ({counts});"
        f" members left out: {shown}; check the source in download.source"
    )


def _colours(unsplit: UnsplitPairs, numbers: Sequence[int]) -> SplitColours:
    sums = (unsplit.facts[number].colours for number in numbers)
    return add_up(each for each in sums if each is not None)
