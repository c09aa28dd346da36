import pytest
import torch

from pipeline_steps.scores.kid import SCALE, kid


def draw(count: int, *, shift: float = 0.0, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, generator=random, dtype=torch.float64) + shift


def test_kid_is_the_mean_over_pairs_of_different_pictures() -> None:
    generated, truth = draw(5), draw(4, seed=1)

    def kernel(a: torch.Tensor, b: torch.Tensor) -> float:
        return float((a @ b / 6 + 1) ** 3)

    within = [
        kernel(a, b) for i, a in enumerate(generated) for j, b in enumerate(generated) if i != j
    ]
    true = [kernel(a, b) for i, a in enumerate(truth) for j, b in enumerate(truth) if i != j]
    across = [kernel(a, b) for a in generated for b in truth]
    expected = sum(within) / 20 + sum(true) / 12 - 2 * sum(across) / 20
    assert kid(generated, truth).value == pytest.approx(SCALE * expected)


def test_sets_of_one_distribution_are_0_apart_within_the_interval() -> None:
    found = kid(draw(150), draw(150, seed=1))
    assert found.low < 0 < found.high
    far = kid(draw(150, shift=0.5), draw(150, seed=1))
    assert far.low > found.high


def test_its_mean_does_not_depend_on_the_number_of_pictures() -> None:
    few = [
        kid(draw(10, seed=2 * k), draw(10, seed=2 * k + 1), resamples=2).value for k in range(300)
    ]
    assert abs(sum(few) / len(few)) < 0.05 * SCALE


def test_an_interval_is_the_same_again() -> None:
    assert kid(draw(20), draw(20, seed=1)) == kid(draw(20), draw(20, seed=1))


def test_two_pictures_are_enough_and_one_is_not() -> None:
    assert kid(draw(2), draw(2, seed=1)).low <= kid(draw(2), draw(2, seed=1)).high
    with pytest.raises(ValueError, match="two pictures"):
        kid(draw(1), draw(5))
