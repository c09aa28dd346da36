"""Names of two folders match in spite of their form, unless more than one could be meant."""

import unicodedata

import pytest

from pipeline_steps.prepare.name_matching import match_names


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (["a", "b"], ["a", "b"]),
        ([unicodedata.normalize("NFD", "が")], [unicodedata.normalize("NFC", "が")]),
        (["A", "b"], ["a", "B"]),
        (["a_colour", "b_colour"], ["a_sketch", "b_sketch"]),
        (["a_colour"], ["a_line"]),
        (["x/a", "y/a"], ["x/a_lines", "y/a_lines"]),
        (["着色_甲", "着色_乙"], ["線画_甲", "線画_乙"]),
        (["001", "002", "010"], ["1", "2", "10"]),
        (["c0001", "c0002"], ["s1", "s2"]),
    ],
)
def test_names_match_in_spite_of_their_form(left: list[str], right: list[str]) -> None:
    assert match_names(left, right) == dict(zip(left, right, strict=True))


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (["a", "A"], ["a", "á"], {"a": "a"}),
        (["1", "01"], ["001"], {}),
        (["a_colour", "a_color"], ["a_sketch"], {}),
        # cats aren't dogs where other names match as they are
        (["z", "cat_1", "cat_2"], ["z", "dog_1", "dog_2"], {"z": "z"}),
        (["x"], ["y"], {}),
        (["100", "2"], ["1", "20"], {}),
    ],
)
def test_what_is_ambiguous_does_not_match(
    left: list[str], right: list[str], expected: dict[str, str]
) -> None:
    assert match_names(left, right) == expected
