import pytest
import torch

from benchmarks.timing import matmul_peak, ratios, spread


def test_a_spread_is_the_median_and_the_quartiles() -> None:
    assert spread([5.0, 1.0, 2.0, 3.0, 4.0]) == (3.0, 2.0, 4.0)
    assert spread([2.0]) == (2.0, 2.0, 2.0)
    assert str(spread([2.0, 2.5, 3.0])) == "2.5 [2.25–2.75]"


def test_ratios_are_taken_round_by_round() -> None:
    # both sides are twice as slow in the second round: the ratio has no spread
    assert ratios([4.0, 8.0], [2.0, 4.0]) == (2.0, 2.0, 2.0)
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


def test_the_peak_is_a_rate() -> None:
    assert matmul_peak(torch.float32, torch.device("cpu"), size=64) > 1e6
