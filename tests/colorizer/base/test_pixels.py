import numpy as np
import pytest
import torch

from colorizer.base.pixels import to_model_range, to_pixel_range


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_every_pixel_value_survives_the_round_trip(library: str) -> None:
    levels = np.arange(256, dtype=np.float32)
    values = to_model_range(levels if library == "numpy" else torch.from_numpy(levels))
    assert float(values.min()) == -1.0
    assert float(values.max()) == 1.0
    assert np.array_equal(np.round(np.asarray(to_pixel_range(values))), levels)
