"""Of copies one is kept: that of test before val, of val before train."""

from pipeline_steps.prepare.duplicates import SplitPair, exact_duplicates, straddlers


def test_of_exact_copies_that_of_test_is_kept_then_of_val_then_the_first_id() -> None:
    pairs = [
        SplitPair("b", "train"),
        SplitPair("a", "train"),
        SplitPair("d", "val"),
        SplitPair("e", "test"),
        SplitPair("c", "train"),
    ]
    assert set(exact_duplicates(pairs, [b"1", b"1", b"2", b"3", b"3"])) == {0, 4}
    assert set(exact_duplicates(pairs, [b"1"] * 5)) == {0, 1, 2, 4}
    assert exact_duplicates(pairs[:2], [b"1"] * 2) == {0: "exact duplicate: of 'a' in train"}


def test_pairs_of_one_truth_in_several_splits_stay_in_test_then_val() -> None:
    group = [SplitPair("a", "train"), SplitPair("b", "test"), SplitPair("c", "test")]
    assert straddlers(group) == {0: "same truth: as 'b' in test"}
    assert straddlers(group[1:]) == {}
    assert set(straddlers([SplitPair("a", "train"), SplitPair("b", "val")])) == {0}
