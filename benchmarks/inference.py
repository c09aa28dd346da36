"""Time the exported model and the same generator in torch; measure the cost of smaller weights.

    python -m benchmarks.inference
    python -m benchmarks.inference --model models/colorizer --prepared data/prepared

Cold start is the time from starting a process to the first picture written. Speed is measured with
the paper's generator at 256 and 512 px with random weights, which don't affect it. With
``--model``, variants of that model are scored on the test pairs of ``--prepared``.
"""

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from benchmarks.timing import ratios, spread
from colorizer.base.files import write_json, write_text
from colorizer.model.folder import (
    CARD_FILE,
    CHECKSUMS_FILE,
    CONFIG_FILE,
    FORMAT_VERSION,
    GRID_FILE,
    INPUT_NAME,
    ONNX_FILE,
    OUTPUT_NAME,
    WEIGHTS_FILE,
    compute_checksums,
)
from pipeline_steps.evaluate.scoring import read_halves
from pipeline_steps.export.onnx_export import export_onnx
from pipeline_steps.networks.generator import Generator, GeneratorArchitecture, save_generator
from pipeline_steps.pairs.packed import PackedPairs, read_pairs
from pipeline_steps.scores.metrics import score

ROUNDS = 5
TURN_S = 2.0
CALIBRATION_PAIRS = 32
SMALL_TENSOR = 1024
"""Tensors of at most this many elements stay in float32."""
IN_TORCH = """
import sys, numpy, torch
from pathlib import Path
from PIL import Image
from colorizer.pictures.decoding import open_picture
from colorizer.pictures.squares import fit_sketch
from colorizer.base.pixels import to_model_range, to_pixel_range
from pipeline_steps.networks.generator import load_generator
folder, source, target = map(Path, sys.argv[1:])
generator = load_generator(folder / "generator.safetensors")
square, _ = fit_sketch(open_picture(source), generator.architecture.image_size)
with torch.inference_mode():
    values = generator(to_model_range(torch.from_numpy(square)[None, None].float()))[0]
pixels = to_pixel_range(values).round().clamp(0, 255).byte().permute(1, 2, 0).contiguous()
Image.fromarray(pixels.numpy()).save(target)
"""


def main() -> None:
    """Time cold starts and pictures/s, then score variants of a trained model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--model", type=Path, help="a trained model's exported folder")
    parser.add_argument("--prepared", type=Path, default=Path("data/prepared"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        for size in arguments.sizes:
            folder = Path(name) / str(size)
            generator = export_random(folder, size)
            time_cold_start(folder, size)
            time_pictures(folder, generator, size)
        if arguments.model:
            test_pairs = read_pairs(arguments.prepared / "test.npy")
            score_variants(arguments.model / ONNX_FILE, test_pairs, Path(name))


def export_random(folder: Path, size: int) -> Generator:
    """Write an exported folder of the paper's generator at ``size`` px, with random weights."""
    torch.manual_seed(0)
    generator = Generator(GeneratorArchitecture(image_size=size)).eval()
    folder.mkdir()
    export_onnx(generator, folder / ONNX_FILE)
    save_generator(folder / WEIGHTS_FILE, generator.architecture, generator.state_dict())
    config = {"format_version": FORMAT_VERSION, "preprocessing": {"image_size": size}}
    write_json(folder / CONFIG_FILE, config)
    for unread in (CARD_FILE, GRID_FILE):
        write_text(folder / unread, "")
    write_json(folder / CHECKSUMS_FILE, compute_checksums(folder))
    return generator


def time_cold_start(folder: Path, size: int) -> None:
    """Print seconds from a process's start to its picture on disk, by onnxruntime and by torch."""
    sketch, output = folder / "sketch.png", folder / "coloured.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (size, size), np.uint8)).save(sketch)
    commands = {
        "onnxruntime": [
            *(sys.executable, "-m", "colorizer", str(sketch), "-o", str(output)),
            *("--model", str(folder)),
        ],
        "torch": [sys.executable, "-c", IN_TORCH, str(folder), str(sketch), str(output)],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            start_s = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - start_s)
    print(f"{size} px, cold start to a picture written, {ROUNDS} rounds, median [quartiles]")
    for name, values in seconds.items():
        ratio = ratios(values, seconds["onnxruntime"])
        print(f"  {name:<20}{spread(values)!s:<22} s  {ratio}×", flush=True)


def time_pictures(folder: Path, generator: Generator, size: int) -> None:
    """Print pictures/s at batch size 1; the methods alternate."""
    values = torch.rand(1, 1, size, size) * 2 - 1
    sketch = values.numpy()
    last = generator.to(memory_format=torch.channels_last)
    session = open_session(folder / ONNX_FILE)
    methods: dict[str, Callable[[], object]] = {
        "onnxruntime": lambda: session.run([OUTPUT_NAME], {INPUT_NAME: sketch}),
        "torch": lambda: last(values),
        "torch, bfloat16": lambda: run_bfloat16(last, values),
    }
    rates: dict[str, list[float]] = {name: [] for name in methods}
    with torch.inference_mode():
        for work in methods.values():
            work()
        for _ in range(ROUNDS):
            for name, work in methods.items():
                rates[name].append(rate(work))
    print(f"{size} px, one picture at a time, {ROUNDS} rounds, median [quartiles]")
    for name, measured in rates.items():
        ratio = ratios(measured, rates["torch"])
        print(f"  {name:<20}{spread(measured)!s:<22} pictures/s  {ratio}×", flush=True)


def run_bfloat16(generator: Generator, values: torch.Tensor) -> torch.Tensor:
    """Run the generator under bfloat16 autocast."""
    with torch.autocast("cpu", torch.bfloat16):
        coloured: torch.Tensor = generator(values)
    return coloured


def rate(work: Callable[[], object]) -> float:
    """Calls per second, over ``TURN_S``."""
    start_s, count = time.perf_counter(), 0
    while time.perf_counter() - start_s < TURN_S:
        work()
        count += 1
    return count / (time.perf_counter() - start_s)


def open_session(path: Path, **settings: Any) -> Any:
    """Open an onnxruntime session on the CPU; ``settings`` are attributes of its options."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    for name, value in settings.items():
        setattr(options, name, value)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def score_variants(path: Path, test_pairs: PackedPairs, folder: Path) -> None:
    """Print size, speed and test metrics of a model with smaller weights."""
    sketch, truth = read_halves(test_pairs, torch.arange(len(test_pairs)))
    variants = {
        "float32": path,
        "float16 weights": store_as(path, folder / "fp16.onnx", TensorProto.FLOAT16),
        "bfloat16 weights": store_as(path, folder / "bf16.onnx", TensorProto.BFLOAT16),
        "int8, static": quantize(path, folder / "int8.onnx", sketch.numpy()),
    }
    sessions = {name: open_session(variant) for name, variant in variants.items()}
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(ROUNDS):
        for name, session in sessions.items():
            one = {INPUT_NAME: sketch[:1].numpy()}
            rates[name].append(rate(lambda run=session.run, one=one: run([OUTPUT_NAME], one)))  # type: ignore[misc]
    print(f"{path}, {len(test_pairs)} test pairs")
    for name, session in sessions.items():
        coloured = [
            torch.from_numpy(session.run([OUTPUT_NAME], {INPUT_NAME: part.numpy()})[0])
            for part in sketch.split(16)
        ]
        metrics = score(torch.cat(coloured), truth)
        scores = "  ".join(f"{key} {values.mean():.4f}" for key, values in metrics.items())
        size = variants[name].stat().st_size / 2**20
        print(f"  {name:<20}{size:6.1f} MiB  {spread(rates[name])!s:<22} pictures/s  {scores}")


def store_as(source: Path, target: Path, dtype: int) -> Path:
    """Store large weights in a 16-bit type, with casts back to float32 in the graph."""
    model = onnx.load(source)
    graph, casts = model.graph, []
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size <= SMALL_TENSOR:
            continue
        name = f"{tensor.name}.stored"
        casts.append(helper.make_node("Cast", [name], [tensor.name], to=TensorProto.FLOAT))
        graph.initializer.remove(tensor)
        half = values.astype(helper.tensor_dtype_to_np_dtype(dtype))
        graph.initializer.append(
            helper.make_tensor(name, dtype, values.shape, half.tobytes(), raw=True)
        )
    for node in reversed(casts):
        graph.node.insert(0, node)
    onnx.save_model(model, target)
    return target


def quantize(source: Path, target: Path, sketches: np.ndarray[Any, Any]) -> Path:
    """Quantize weights and activations to int8, calibrated on the first sketches."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Yields the sketches one by one."""

        def __init__(self) -> None:
            self.sketches = iter(sketches[:CALIBRATION_PAIRS])

        def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
            """The next input; None after the last."""
            sketch = next(self.sketches, None)
            return None if sketch is None else {INPUT_NAME: sketch[None]}

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_static(source, target, Reader(), per_channel=True, weight_type=QuantType.QInt8)
    return target


if __name__ == "__main__":
    main()
