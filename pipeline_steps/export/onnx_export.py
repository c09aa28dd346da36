"""The generator as an ONNX file, and how much that file differs from torch."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from colorizer.base.pixels import HINT_CHANNELS
from colorizer.model.folder import (
    HINTS_NAME,
    INPUT_NAME,
    OUTPUT_NAME,
    ModelFolder,
    noise_name,
)
from colorizer.model.session import ModelSession
from pipeline_steps.base.errors import ExportError
from pipeline_steps.hints.in_training import draw_hints
from pipeline_steps.networks.generator import Generator
from pipeline_steps.pairs.packed import COLOUR, SKETCH, PackedPairs
from pipeline_steps.pairs.values import array_of

if TYPE_CHECKING:
    import onnx


def export_onnx(generator: Generator, path: Path) -> None:
    """Write the generator, in evaluation mode, as one ONNX file that accepts any batch size.

    Dropout masks are inputs with a default of one, so that without them there is no dropout. Hints
    are an input of a generator that takes them.
    """
    import onnx

    size = generator.architecture.image_size
    example = torch.zeros(2, 1, size, size)
    masks = tuple(torch.ones(2, *shape) for shape in generator.noise_shapes)
    names = [noise_name(number) for number in range(len(masks))]
    batch = torch.export.Dim("batch")
    inputs = [INPUT_NAME, *names]
    hints = {}
    shapes: dict[str, Any] = {"sketch": {0: batch}, "noise": tuple({0: batch} for _ in masks)}
    if generator.architecture.takes_hints:
        inputs.append(HINTS_NAME)
        hints = {"hints": torch.zeros(2, HINT_CHANNELS, size, size)}
        shapes |= {"hints": {0: batch}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            generator.eval(),
            (example, *masks),
            kwargs=hints,
            dynamo=True,
            verbose=False,
            input_names=inputs,
            output_names=[OUTPUT_NAME],
            dynamic_shapes=shapes,
        )
    if program is None:
        raise ExportError("torch.onnx.export returned no program")
    model = program.model_proto
    strip_traces(model)
    make_optional(model, names)
    onnx.checker.check_model(model)
    onnx.save_model(model, path)


def make_optional(model: "onnx.ModelProto", names: Sequence[str]) -> None:
    """Give these inputs a default of one, which is broadcast to any batch."""
    import onnx

    for value in model.graph.input:
        if value.name in names:
            for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
                dimension.dim_param = f"{value.name}_{axis}"
            one = np.ones((1, 1, 1, 1), np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(one, value.name))


def strip_traces(model: "onnx.ModelProto") -> None:
    """Remove stack traces: they name this machine's folders, so equal models would differ."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.value_info):
        del part.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""


def compare_with_torch(
    model: ModelFolder, generator: Generator, pairs: PackedPairs, *, num_pairs: int
) -> float:
    """Largest |ONNX − torch| over the first test sketches, singly and batched; −1..1 units.

    With hints, too, if the generator takes them.
    """
    values = torch.from_numpy(array_of(pairs.pixels[:num_pairs]))
    truth, sketch = values[:, COLOUR], values[:, SKETCH]
    session, sketches = ModelSession(model), sketch.numpy()
    choices: list[torch.Tensor | None] = [None]
    if generator.architecture.takes_hints:
        _, drawn = draw_hints(truth, sketch, range(len(sketch)))
        choices.append(drawn)
    differences = []
    for hints in choices:
        with torch.inference_mode():
            expected = generator(sketch, hints=hints).numpy()
        parts = [slice(None), *(slice(number, number + 1) for number in range(len(sketches)))]
        for part in parts:
            given = None if hints is None else hints[part].numpy()
            found = session.run(sketches[part], hints=given)
            differences.append(float(np.abs(found - expected[part]).max()))
    return float(np.max(differences))  # NaN if one is


def require_small(difference: float, limit: float) -> None:
    """Raise :class:`ExportError` if ONNX and torch differ by more than ``limit``, or by NaN."""
    if not difference <= limit:
        raise ExportError(
            f"the exported model differs from torch by {difference:.2g} on test sketches, more than"
            f" export.max_onnx_difference ({limit:g}); nothing was exported"
        )
