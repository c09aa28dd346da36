"""An exported model's scores on the test pairs, picture by picture, by its ONNX file.

Shape legend: N pairs, K of a batch, S pixels square of the test pairs, M of the model.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from colorizer.runtime import Colorizer
from flows.promotion.decision import Float64Array
from pipeline_steps.pairs.packed import COLOUR, SKETCH, PackedPairs, UInt8Array, read_train_mean
from pipeline_steps.pairs.values import Float32Array, array_of
from pipeline_steps.scores.definitions import GENERATOR

BATCH_PAIRS = 16


def score_model(
    colorizer: Colorizer, pairs: PackedPairs, *, st_lpips: bool
) -> dict[str, Float64Array]:
    """Score a model on all test pairs: metric → N values.

    A model of another size gets the sketches resized to M, and its pictures are resized back to S.
    Raises :class:`DataError` if ST-LPIPS is wanted and its weights are missing.
    """
    scored = _score(
        pairs,
        lambda batch: {GENERATOR: _colour(colorizer, batch[..., SKETCH])},
        st_lpips=st_lpips,
    )
    return scored[GENERATOR]


def score_baselines(
    pairs: PackedPairs, train_mean: Path, *, st_lpips: bool
) -> dict[str, dict[str, Float64Array]]:
    """Score the baselines: ``{baseline: {metric: N values}}``.

    Raises :class:`DataError` if the mean training picture is missing or of another size.
    """
    import torch

    from pipeline_steps.scores.baselines import draw_baselines

    mean = torch.from_numpy(array_of(read_train_mean(train_mean, pairs.image_size)[None])[0])

    def draw(batch: UInt8Array) -> dict[str, Float32Array]:
        pictures = draw_baselines(torch.from_numpy(array_of(batch[..., SKETCH])), mean)
        return {name: picture.numpy() for name, picture in pictures.items()}

    return _score(pairs, draw, st_lpips=st_lpips)


def _score(
    pairs: PackedPairs,
    colour: Callable[[UInt8Array], dict[str, Float32Array]],
    *,
    st_lpips: bool,
) -> dict[str, dict[str, Float64Array]]:
    """Score what ``colour`` makes of K×S×S×4 pairs, K×3×S×S by name: name → metric → N values."""
    import torch

    from pipeline_steps.scores.scorer import Scorer

    scorer = Scorer(st_lpips=st_lpips, device=torch.device("cpu"))
    parts: dict[str, dict[str, list[Float64Array]]] = {}
    for batch in _batches(pairs):
        halves = torch.from_numpy(array_of(batch))
        reference = scorer.reference(halves[:, COLOUR], halves[:, SKETCH])
        for name, pictures in colour(batch).items():
            scores = scorer.score(torch.from_numpy(pictures), reference).values
            for metric, values in scores.items():
                by_metric = parts.setdefault(name, {})
                by_metric.setdefault(metric, []).append(values.double().numpy())
    return {
        name: {metric: np.concatenate(values) for metric, values in by_metric.items()}
        for name, by_metric in parts.items()
    }


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


def _batches(pairs: PackedPairs) -> Iterator[UInt8Array]:
    for start in range(0, len(pairs), BATCH_PAIRS):
        yield np.asarray(pairs.pixels[start : start + BATCH_PAIRS])
