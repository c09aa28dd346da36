"""An exported model's scores on the test pairs, picture by picture, by its ONNX file.

Shape legend: N pairs, K of a batch, S pixels square of the test pairs, M of the model.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from colorizer.runtime import Colorizer
from flows.promotion.decision import Float64Array
from pipeline_steps.pairs.packed import COLOUR, SKETCH, PackedPairs, UInt8Array, read_train_mean
from pipeline_steps.pairs.values import Float32Array, array_of
from pipeline_steps.scores.definitions import BASELINES

BATCH_PAIRS = 16


def score_model(colorizer: Colorizer, pairs: PackedPairs) -> dict[str, Float64Array]:
    """Score a model on all test pairs: metric → N values.

    A model of another size gets the sketches resized to M, and its pictures are resized back to S.
    """
    return _collect(
        _score(_colour(colorizer, batch[..., SKETCH]), batch) for batch in _batches(pairs)
    )


def score_baselines(pairs: PackedPairs, train_mean: Path) -> dict[str, dict[str, Float64Array]]:
    """Score the baselines: ``{baseline: {metric: N values}}``.

    Raises :class:`DataError` if the mean training picture is missing or of another size.
    """
    import torch

    from pipeline_steps.scores.baselines import draw_baselines

    mean = torch.from_numpy(array_of(read_train_mean(train_mean, pairs.image_size)[None])[0])
    batches: dict[str, list[dict[str, Float64Array]]] = {name: [] for name in BASELINES}
    for batch in _batches(pairs):
        pictures = draw_baselines(torch.from_numpy(array_of(batch[..., SKETCH])), mean)
        for name, picture in pictures.items():
            batches[name].append(_score(picture.numpy(), batch))
    return {name: _collect(scores) for name, scores in batches.items()}


def _colour(colorizer: Colorizer, sketches: UInt8Array) -> Float32Array:
    """K×S×S×1 ``uint8`` → K×3×S×S float32 in −1..1."""
    size, model_size = sketches.shape[1], colorizer.model.image_size
    if size == model_size:
        return colorizer.session.run(array_of(sketches))
    resized = np.stack([_resize(sketch[..., 0], model_size) for sketch in sketches])
    coloured = colorizer.session.colour(list(resized))
    return array_of(np.stack([_resize(picture, size) for picture in coloured]))


def _resize(picture: UInt8Array, size: int) -> UInt8Array:
    image = Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)


def _score(generated: Float32Array, batch: UInt8Array) -> dict[str, Float64Array]:
    import torch

    from pipeline_steps.scores.metrics import score

    scores = score(torch.from_numpy(generated), torch.from_numpy(array_of(batch[..., COLOUR])))
    return {metric: values.double().numpy() for metric, values in scores.items()}


def _collect(batches: Iterable[dict[str, Float64Array]]) -> dict[str, Float64Array]:
    parts = list(batches)
    return {metric: np.concatenate([part[metric] for part in parts]) for metric in parts[0]}


def _batches(pairs: PackedPairs) -> Iterator[UInt8Array]:
    for start in range(0, len(pairs), BATCH_PAIRS):
        yield np.asarray(pairs.pixels[start : start + BATCH_PAIRS])
