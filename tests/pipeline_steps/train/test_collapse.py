import math
from typing import Any

import pytest
import torch

from pipeline_steps.train.collapse import VarietyMeter, find_collapse, guessing_loss
from pipeline_steps.train.losses import discriminator_loss


def history(
    num_epochs: int, *, variety: float = 1.0, d_loss: float = 0.5, val_l1: float = 0.2
) -> list[dict[str, float]]:
    first = {"epoch": 1, "val_variety": 1.0, "loss_discriminator": 0.5, "val_l1": 0.2}
    rest = {"val_variety": variety, "loss_discriminator": d_loss, "val_l1": val_l1}
    return [first, *({"epoch": epoch + 2, **rest} for epoch in range(num_epochs))]


def find(rows: list[dict[str, float]], **changes: Any) -> str | None:
    return find_collapse(rows, **{"gan_loss": "bce", "epochs": 3, **changes})


def test_a_healthy_training_is_not_stopped() -> None:
    assert find(history(20)) is None


def test_constant_output_is_a_failure_when_it_has_lasted() -> None:
    assert find(history(2, variety=0.01)) is None
    failure = find(history(3, variety=0.01))
    assert failure is not None
    assert "nearly constant for 3 epochs" in failure
    assert "train.generator_lr" in failure


def test_a_discriminator_that_wins_is_a_failure_only_if_the_generator_suffers() -> None:
    assert find(history(5, d_loss=0.001)) is None
    failure = find(history(5, d_loss=0.001, val_l1=0.3))
    assert failure is not None
    assert "discriminator has won" in failure
    assert "from 0.200 in epoch 1 to 0.300" in failure
    assert "train.discriminator_lr" in failure
    # a worse generator against a balanced discriminator is overfitting, not a collapse
    assert find(history(5, d_loss=0.4, val_l1=0.3)) is None


def test_one_good_epoch_resets_the_count() -> None:
    rows = history(5, variety=0.01)
    rows[-2]["val_variety"] = 0.5
    assert find(rows) is None


def test_a_slow_start_is_not_a_collapse() -> None:
    rows = history(9, variety=0.01)
    for index, row in enumerate(rows):
        row["val_l1"] -= 0.01 * index
    assert find(rows) is None


def test_0_epochs_disable_the_check() -> None:
    assert find(history(50, variety=0.0), epochs=0) is None


@pytest.mark.parametrize("gan_loss", ["bce", "lsgan", "hinge"])
def test_the_guessing_loss_is_that_of_the_best_constant_output(gan_loss: str) -> None:
    logits = torch.linspace(-3, 3, 601)
    losses = [float(discriminator_loss(gan_loss, logit, logit)) for logit in logits]
    assert guessing_loss(gan_loss) == pytest.approx(min(losses), abs=1e-4)


def measure(generated: torch.Tensor, truth: torch.Tensor) -> float:
    meter = VarietyMeter()
    for colour, target in zip(generated.split(3), truth.split(3), strict=True):
        meter.add(colour, target)
    return meter.variety()


def test_equal_and_flat_pictures_have_no_variety() -> None:
    torch.manual_seed(0)
    truth = torch.rand(8, 3, 16, 16) * 2 - 1
    assert measure(truth, truth) == pytest.approx(1.0)
    assert measure(truth * 0.5, truth) == pytest.approx(0.5)
    assert measure(truth[:1].expand(8, -1, -1, -1), truth) < 1e-6  # one picture for all sketches
    flat = torch.rand(8, 3, 1, 1).expand(8, 3, 16, 16)
    assert measure(flat.mean(dim=1, keepdim=True).expand(8, 3, 16, 16), truth) < 1e-6
    assert math.isnan(measure(torch.full_like(truth, math.nan), truth))


def test_a_single_true_picture_needs_no_variety_between_pictures() -> None:
    torch.manual_seed(0)
    truth = torch.rand(1, 3, 16, 16)
    assert measure(truth, truth) == pytest.approx(1.0)
