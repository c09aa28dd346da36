"""A hint is checked where it is made, and its JSON says which one is wrong."""

import json
import math
from typing import Any

import pytest

from colorizer.base.errors import HintError
from colorizer.hints.hint import MAX_HINTS, Hint, format_json, parse_hint, parse_json


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ((-1, 5, "#e8b090"), "lies outside the picture, at -1, 5"),
        ((math.nan, 5, "#e8b090"), "x must be a finite number of pixels, got nan"),
        ((5, math.inf, "#e8b090"), "y must be a finite number of pixels, got inf"),
        ((10**400, 5, "#e8b090"), "x must be a finite number of pixels, got 10+"),
        (("5", 5, "#e8b090"), "x must be a number, got '5'"),
        ((5, 5, "peach"), "colour must be like #e8b090, got 'peach'"),
        ((5, 5, None), "colour must be like #e8b090, got 'None'"),
        ((5, 5, "#e8b090", 0), "radius must be above 0, at most 1000: 0"),
        ((5, 5, "#e8b090", 1001), "radius must be above 0, at most 1000: 1001"),
        ((5, 5, "#e8b090", math.nan), "radius must be a finite number of pixels, got nan"),
    ],
)
def test_an_invalid_hint_is_refused(values: Any, reason: str) -> None:
    with pytest.raises(HintError, match=f"^{reason}$"):
        Hint(*values)


def test_a_hint_is_read_from_an_argument() -> None:
    assert parse_hint("120,80,#E8B090") == Hint(120, 80, "#e8b090")
    assert parse_hint(" 1.5, 2 ,e8b090, 6") == Hint(1.5, 2, "#e8b090", 6)
    assert Hint(0, 0, "#e8b090").rgb == (232, 176, 144)


@pytest.mark.parametrize("text", ["", "1,2", "1,2,#e8b090,3,4", "a,b,#e8b090", "1;2;#e8b090"])
def test_another_argument_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(HintError, match="must be like 120,80,#e8b090"):
        parse_hint(text)


def test_json_is_read_as_it_was_written() -> None:
    hints = [Hint(1, 2, "#ffffff"), Hint(3.5, 4, "#112233", 9)]
    assert parse_json(format_json(hints, (8, 6)), (8, 6)) == hints


def test_the_size_and_the_radius_can_be_left_out() -> None:
    entry = {"x": 1, "y": 2, "color": "#ffffff"}
    assert parse_json(json.dumps([entry]), (8, 6)) == [Hint(1, 2, "#ffffff")]
    assert parse_json(json.dumps({"hints": [entry]}), (8, 6)) == [Hint(1, 2, "#ffffff")]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("3", "must be a list"),
        ('{"dots": []}', "must be a list"),
        ("[3]", "hint 1: must be an object with x, y and colour"),
        ('[{"x": 1, "y": 1}]', "hint 1: colour is missing"),
        ('[{"x": 1, "y": 1, "colour": "#ffffff", "size": 3}]', "hint 1: unknown key 'size'"),
        ('[{"x": NaN, "y": 1, "colour": "#ffffff"}]', "hint 1: x must be a finite number"),
        ('{"width": 9, "height": 6, "hints": []}', "for a picture of 9×6, this one is 8×6"),
        (json.dumps([{}] * (MAX_HINTS + 1)), "10,001 hints; at most 10,000 are taken"),
        (b"\xff[]", "not valid JSON"),
        (b"[" + b" " * (5 << 20), "more than 4 MiB"),
        ('[{"x": 1' + "0" * 400 + ', "y": 1, "colour": "#ffffff"}]', "hint 1: x must be a finite"),
    ],
)
def test_invalid_json_is_refused_by_what_is_wrong(data: str, reason: str) -> None:
    with pytest.raises(HintError, match=reason):
        parse_json(data, (8, 6))
