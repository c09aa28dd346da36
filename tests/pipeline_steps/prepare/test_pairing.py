"""Pairs are found by the members' names, for several folder layouts."""

import pytest

from pipeline_steps.prepare.pairing import Listing, find_pairs


def placed(listing: Listing) -> dict[str, str | None]:
    return {pair.id: pair.split for pair in listing.pairs}


@pytest.mark.parametrize("root", ["", "data/", "data/data/", "test/"])
def test_val_without_test_is_the_test_set_below_any_root(root: str) -> None:
    listing = find_pairs([f"{root}train/1.png", f"{root}val/2.png", f"{root}train/"])
    assert placed(listing) == {"1": "train", "2": "test"}
    assert (listing.has_val, listing.has_test) == (False, True)


def test_val_and_test_together_keep_their_names() -> None:
    listing = find_pairs(["train/1.png", "val/2.png", "test/3.png"])
    assert placed(listing) == {"1": "train", "2": "val", "3": "test"}
    assert listing.has_val


def test_without_split_folders_no_split_is_set() -> None:
    listing = find_pairs(["set/a/1.png", "set/b/1.png"])
    assert placed(listing) == {"a/1": None, "b/1": None}
    assert (listing.has_val, listing.has_test) == (False, False)


def test_splits_with_equal_ids_keep_all_their_pairs_and_the_training_ids() -> None:
    listing = find_pairs(["train/1.jpg", "val/1.jpg", "test/1.jpg", "test/2.jpg"])
    assert placed(listing) == {"1": "train", "val/1": "val", "test/1": "test", "2": "test"}


@pytest.mark.parametrize(
    "names",
    [
        ["colour/1.png", "sketch/1.jpg"],
        ["set/Lines/train/1.png", "set/Colored/train/1.png"],
        ["train/lineart/1.png", "train/COLOR/1.webp"],
    ],
)
def test_parallel_folders_are_joined_by_the_rest_of_the_path(names: list[str]) -> None:
    (pair,) = find_pairs(names).pairs
    assert pair.id == "1"
    assert pair.sketch_member is not None
    assert "col" in pair.member.name.lower()


def test_a_folder_called_sketch_without_a_parallel_folder_is_an_ordinary_folder() -> None:
    listing = find_pairs(["sketch/1.png", "more/1.png"])
    assert set(placed(listing)) == {"sketch/1", "more/1"}
    assert all(pair.sketch_member is None for pair in listing.pairs)


def test_every_member_is_listed_once_with_a_reason_if_it_makes_no_pair() -> None:
    names = [
        "colour/1.png",
        "sketch/1.png",
        "colour/2.png",
        "sketch/3.png",
        "colour/1.jpg",
        "colour/1.png",
        "../out.png",
        "/abs.png",
        "colorgram/1.json",
        "__MACOSX/colour/._1.png",
        "colour/.DS_Store",
        "Thumbs.db",
    ]
    listing = find_pairs(names)
    positions = [leftover.member.position for leftover in listing.leftovers]
    for pair in listing.pairs:
        positions += [member.position for member in (pair.member, pair.sketch_member) if member]
    assert sorted(positions) == list(range(len(names)))
    verdicts = {leftover.member.position: leftover.verdict for leftover in listing.leftovers}
    assert [verdicts[k] for k in range(6, 12)] == ["rejected"] * 2 + ["ignored"] * 4
    assert all(leftover.reason for leftover in listing.leftovers)


def test_of_two_pairs_with_one_id_the_second_by_name_is_rejected() -> None:
    listing = find_pairs(["1.png", "1.jpg"])
    (pair,), (leftover,) = listing.pairs, listing.leftovers
    assert (pair.member.name, leftover.member.name) == ("1.jpg", "1.png")
    assert leftover.reason == "duplicate id: as '1.jpg'"


def test_the_order_of_the_directory_does_not_matter() -> None:
    names = ["train/2.png", "val/1.png", "train/1.png", "train/1.jpg"]
    assert placed(find_pairs(names)) == placed(find_pairs(names[::-1]))


def test_an_empty_archive_has_no_pairs() -> None:
    assert find_pairs([]).pairs == []
