"""Time our training step and the peer's, after checking that their networks are equal.

    python -m benchmarks.training_step --peer ~/pytorch-CycleGAN-and-pix2pix

Each side runs in its own process, since the allocator and torch's global settings are per process.
The processes alternate (A B A B): one works while the others sleep.
"""

import argparse
import dataclasses
import multiprocessing
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import peer
from benchmarks.timing import Spread, matmul_peak, ratios, spread, synchronize
from colorizer.base.cores import count_cores
from pipeline_steps.params import PARAMS_FILE, TrainParams, load_yaml
from pipeline_steps.train import trainer
from pipeline_steps.train.augmentation import augment, plan_epoch
from pipeline_steps.train.device import (
    choose_autocast_dtype,
    choose_device,
    make_deterministic,
)
from pipeline_steps.train.memory import keep_freed_memory
from pipeline_steps.train.schedule import set_learning_rate
from pipeline_steps.train.state import TrainingState, build_state, compile_networks

PAPER_FILE, KAGGLE_FILE = Path("params/paper.yaml"), Path("params/kaggle.yaml")
IMAGE_SIZE = 256
TOLERANCE = {torch.float64: 1e-8, torch.float32: 5e-3}
"""Largest relative difference of losses and of gradients (each network's as one vector). Batch
normalization over the few values of the inner layers amplifies float32 rounding; the float64 check
shows that nothing else differs."""
MAX_STEP_DIFFERENCE, MAX_OUTLIERS = 0.01, 0.01
"""Difference of a weight after one step of Adam, in learning rates, and the share of weights that
may exceed it: Adam divides a gradient by its magnitude, so near 0 rounding decides the step."""
MATMUL = {"bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True)
class Side:
    """One implementation and configuration that is timed."""

    code: str
    """``peer``, ``ours`` (the paper's networks and loss, as the peer's) or ``recipe``."""
    keeps_pages: bool
    """Whether the allocator keeps freed memory."""
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Changes to our params."""


SIDES = {
    "peer": Side("peer", keeps_pages=False),
    "peer-keeping-pages": Side("peer", keeps_pages=True),
    "ours": Side("ours", keeps_pages=True),
    "ours-fp32": Side("ours", keeps_pages=True, changes={"precision": "float32"}),
    "ours-compiled": Side("ours", keeps_pages=True, changes={"compile": True}),
    "ours-returning-pages": Side("ours", keeps_pages=False),
    "recipe": Side("recipe", keeps_pages=True, changes={"hints": "none"}),
    "recipe-compiled": Side("recipe", keeps_pages=True, changes={"hints": "none", "compile": True}),
    "recipe-hints": Side("recipe", keeps_pages=True, changes={"hints": "points"}),
}


def main() -> None:
    """Check that both implementations are equal, then time them."""
    arguments = parse_arguments()
    device = choose_device("auto")
    print_machine(arguments.peer, device)
    for dtype in TOLERANCE:
        check_equality(arguments.peer, device, dtype)
    flops_per_image = count_flops(device)
    print(f"one step: {flops_per_image / 1e9:.1f} GFLOP per image (convolutions)")
    peaks = {name: matmul_peak(dtype, device) for name, dtype in MATMUL.items()}
    print(
        "matrix-product peak: " + ", ".join(f"{k} {v / 1e9:.0f} GFLOP/s" for k, v in peaks.items())
    )
    with start_sides(arguments.sides, arguments.peer) as workers:
        for batch_size in arguments.batch_sizes:
            times = time_interleaved(workers, batch_size, arguments.rounds, arguments.seconds)
            report(times, batch_size, flops_per_image, peaks, arguments.whole_run)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, required=True, help="a checkout of the peer")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=7, help="rounds per side")
    parser.add_argument("--seconds", type=float, default=2.0, help="least work per round")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=["peer", "ours"])
    parser.add_argument(
        "--whole-run",
        type=int,
        metavar="IMAGES",
        help="also project the ratio for a run of so many images, warm-up included",
    )
    return parser.parse_args()


def check_equality(checkout: Path, device: torch.device, dtype: torch.dtype) -> None:
    """Exit unless shapes, losses, gradients and updated weights agree, without dropout.

    Without TF32, which cuDNN uses by default: it has 10 bits of mantissa, not float32's 23.
    """
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        compare_step(checkout, device, dtype)


def compare_step(checkout: Path, device: torch.device, dtype: torch.dtype) -> None:
    """Do one step of each from equal weights; exit at the first difference."""
    torch.manual_seed(0)
    params = paper_params(dropout=0.0, batch_size=2)
    torch.set_default_dtype(dtype)
    model = peer.build_peer(checkout, device, dropout=False)
    state, pairs = build_ours(params, device), random_pairs(params.batch_size, device)
    torch.set_default_dtype(torch.float32)
    networks = [
        ("generator", state.generator, peer.unwrap(model.netG)),
        ("discriminator", state.discriminator, peer.unwrap(model.netD)),
    ]
    for _, ours, theirs in networks:
        peer.copy_weights(theirs, ours)
    our_losses = trainer.update(state, pairs, params, None)
    peer.peer_step(model, pairs)
    their_losses = (model.loss_D, model.loss_G_GAN, model.loss_G_L1 / params.l1_weight)
    for index, name in enumerate(our_losses._fields):
        loss, difference = (
            our_losses[index].item(),
            relative(our_losses[index], their_losses[index]),
        )
        print(f"equality in {dtype}: {name} loss {loss:.6f}, differs by {difference:.0e}")
        require(difference <= TOLERANCE[dtype], f"{name} losses differ")
    for name, ours, theirs in networks:
        compare_weights(name, ours, theirs, dtype, learning_rate=params.generator_lr)


def relative(ours: Tensor, theirs: Tensor) -> float:
    """Norm of the difference, relative to the norm of ``theirs``."""
    return float(((ours - theirs).norm() / theirs.norm()).item())


def require(condition: bool, message: str) -> None:
    """Exit with a message unless the condition holds."""
    if not condition:
        raise SystemExit(message)


def compare_weights(
    name: str,
    ours: torch.nn.Module,
    theirs: torch.nn.Module,
    dtype: torch.dtype,
    *,
    learning_rate: float,
) -> None:
    """Exit unless gradients and parameters agree after one step."""
    difference = relative(flat_gradient(ours), flat_gradient(theirs))
    both = zip(ours.parameters(), theirs.parameters(), strict=True)
    steps = torch.cat([((a - b).abs() / learning_rate).flatten() for a, b in both])
    outliers = (steps > MAX_STEP_DIFFERENCE).double().mean().item()
    print(
        f"equality in {dtype}: {name}, {peer.count_parameters(ours):,} weights: gradients differ"
        f" by {difference:.0e}; after a step {outliers:.0e} of the weights by more than"
        f" {MAX_STEP_DIFFERENCE:.0%} of the learning rate"
    )
    require(difference <= TOLERANCE[dtype], f"gradients of the {name}s differ")
    require(outliers <= MAX_OUTLIERS, f"the {name}s differ after a step")


def flat_gradient(network: torch.nn.Module) -> Tensor:
    """Concatenate all gradients of a network."""
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    return torch.cat([gradient.flatten() for gradient in gradients])


def paper_params(**changes: Any) -> TrainParams:
    """The committed params with the paper's networks, loss and learning rates, as in the peer."""
    # unchecked: GPU machines may have no pydantic
    committed, paper = (load_yaml(file)["train"] for file in (PARAMS_FILE, PAPER_FILE))
    return TrainParams(**{**committed, **paper, "precision": committed["precision"], **changes})


def recipe_params(**changes: Any) -> TrainParams:
    """The recipe as ``params/kaggle.yaml`` trains it: the paper's widths, at 256 px."""
    committed, kaggle = (load_yaml(file)["train"] for file in (PARAMS_FILE, KAGGLE_FILE))
    return TrainParams(**{**committed, **kaggle, **changes})


def build_ours(params: TrainParams, device: torch.device) -> TrainingState:
    """Build our networks and optimizers at the paper's learning rate."""
    state = build_state(params, IMAGE_SIZE, device)
    for optimizer in (state.generator_optimizer, state.discriminator_optimizer):
        set_learning_rate(optimizer, params.generator_lr)
    return state


def random_pairs(batch_size: int, device: torch.device) -> Tensor:
    """Random pairs, N×4×S×S in −1..1, in the memory layout of the packed reader."""
    pairs = torch.rand(batch_size, IMAGE_SIZE, IMAGE_SIZE, 4, device=device) * 2 - 1
    return pairs.permute(0, 3, 1, 2)


def count_flops(device: torch.device) -> float:
    """FLOP of one step per image; a multiplication and an addition are two."""
    params = paper_params()
    state, pairs = build_ours(params, device), random_pairs(1, device)
    with FlopCounterMode(display=False) as counter:
        trainer.update(state, pairs, params, None)
    return float(counter.get_total_flops())


def prepare_side(side: Side, checkout: Path | None, batch_size: int) -> Callable[[int], None]:
    """Build a side at a batch size; the returned function does a number of steps."""
    device = choose_device("auto")
    pairs = random_pairs(batch_size, device)
    if side.code == "peer":
        assert checkout is not None, "asked for by the command line"
        model = peer.build_peer(checkout, device)
        return repeat(lambda: peer.peer_step(model, pairs))
    is_recipe = side.code == "recipe"
    choose_params = recipe_params if is_recipe else paper_params
    params = choose_params(batch_size=batch_size, **side.changes)
    make_deterministic()
    state = build_ours(params, device)
    compile_networks(state, params, device, run_images=0)
    autocast_dtype = choose_autocast_dtype(params.precision, device)
    if not is_recipe:
        return repeat(lambda: trainer.update(state, pairs, params, autocast_dtype))
    # with what is drawn for each step: crops, line styles and hints
    plan = plan_epoch(
        seed=params.seed,
        epoch=0,
        num_pairs=batch_size,
        load_size=params.load_size,
        image_size=IMAGE_SIZE,
        flip=True,
    )

    def step() -> None:
        batch = augment(
            pairs,
            plan,
            slice(0, batch_size),
            load_size=params.load_size,
            redrawn_share=params.line_styles,
            with_hints=params.hints != "none",
        )
        trainer.update(state, batch, params, autocast_dtype, adversarial=False)

    return repeat(step)


def repeat(step: Callable[[], object]) -> Callable[[int], None]:
    """Turn a step into a function that does a number of steps."""

    def steps(number: int) -> None:
        for _ in range(number):
            step()

    return steps


def serve(connection: Connection, side: Side, checkout: Path | None) -> None:
    """Run a side's process: execute each received ``(what, number)`` and send back seconds.

    ``peak`` sends back GiB.
    """
    if side.keeps_pages:
        keep_freed_memory()
    device = choose_device("auto")
    steps: Callable[[int], None] | None = None
    while True:
        what, number = connection.recv()
        if what == "end":
            return
        if what == "peak":
            connection.send(peak_memory_gib(device))
            continue
        start_s = time.perf_counter()
        if what == "prepare":
            steps = prepare_side(side, checkout, number)
            number = 1
        assert steps is not None, "prepare comes first"
        steps(number)
        synchronize(device)
        connection.send(time.perf_counter() - start_s)


@contextmanager
def start_sides(names: list[str], checkout: Path | None) -> Iterator[dict[str, Connection]]:
    """Start a process per side; yields the connection to each."""
    context = multiprocessing.get_context("spawn")
    connections: dict[str, Connection] = {}
    processes = []
    for name in names:
        connections[name], remote = context.Pipe()
        process = context.Process(target=serve, args=(remote, SIDES[name], checkout), daemon=True)
        process.start()
        processes.append(process)
    yield connections
    for connection in connections.values():
        connection.send(("end", 0))
    for process in processes:
        process.join()


def ask(connection: Connection, what: str, number: int) -> float:
    """Send a command to a side and wait; return its seconds."""
    connection.send((what, number))
    return float(connection.recv())


@dataclass(frozen=True)
class Times:
    """Times of one side."""

    warm_up_s: float
    """Seconds to build the networks and do the first step."""
    step_s: list[float]
    """Seconds per step, one value per round."""


def time_interleaved(
    workers: dict[str, Connection], batch_size: int, rounds: int, turn_s: float
) -> dict[str, Times]:
    """Time the sides in alternating turns of at least ``turn_s``, ``rounds`` each."""
    warm_up = {name: ask(worker, "prepare", batch_size) for name, worker in workers.items()}
    num_steps = {
        name: max(1, round(turn_s / (ask(worker, "steps", 2) / 2)))
        for name, worker in workers.items()
    }
    step_s: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            step_s[name].append(ask(worker, "steps", num_steps[name]) / num_steps[name])
    return {name: Times(warm_up[name], step_s[name]) for name in workers}


def report(
    times: dict[str, Times],
    batch_size: int,
    flops_per_image: float,
    peaks: dict[str, float],
    run_images: int | None,
) -> None:
    """Print the results of a batch size; ratios are to the first side."""
    reference = next(iter(times.values()))
    print(f"\nbatch size {batch_size}, {len(reference.step_s)} rounds, median [quartiles]")
    for name, side in times.items():
        images_per_s = spread([batch_size / value for value in side.step_s])
        line = f"  {name:<24}{images_per_s!s:<22} images/s"
        if SIDES[name].code != "recipe":  # whose networks do other work
            flops = images_per_s.median * flops_per_image
            shares = ", ".join(f"{flops / peak:.0%} of {kind} peak" for kind, peak in peaks.items())
            line += f"  {flops / 1e9:.0f} GFLOP/s ({shares})"
        if side is not reference:
            line += f"  {ratios(reference.step_s, side.step_s)}×"
        print(line, flush=True)
        if run_images and side is not reference:
            whole = whole_run(reference, side, batch_size, run_images)
            print(f"  {'':<24}{whole}× over a run of {run_images} images, warm-up included")


def whole_run(reference: Times, side: Times, batch_size: int, run_images: int) -> Spread:
    """Ratio of the times of whole runs, from the measured warm-up and step."""
    num_steps = run_images / batch_size

    def run_s(times: Times) -> list[float]:
        return [times.warm_up_s + num_steps * step_s for step_s in times.step_s]

    return ratios(run_s(reference), run_s(side))


def peak_memory_gib(device: torch.device) -> float:
    """This process's peak on a GPU so far; 0 on a CPU."""
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0


def print_machine(checkout: Path | None, device: torch.device) -> None:
    """Print hardware, versions and commits."""
    name = torch.cuda.get_device_name() if device.type == "cuda" else cpu_name()
    threads = torch.get_num_threads()
    print(f"{name}, {count_cores()} cores, {threads} threads; torch {torch.__version__}")
    print(f"Python {platform.python_version()}; ours {commit(Path.cwd())}")
    if checkout:
        print(f"peer {commit(checkout)}")


def cpu_name() -> str:
    """Name of the processor and its bfloat16 units."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    name = next((line.split(":")[1].strip() for line in lines if "model name" in line), "CPU")
    units = [key for key in ("avx512_bf16", "amx_bf16") if torch.cpu.get_capabilities().get(key)]
    return f"{name} ({', '.join(units) or 'no bf16 units'})"


def commit(folder: Path) -> str:
    """Abbreviated commit of a checkout, or ``unknown``."""
    if not (folder / ".git").exists():
        return "unknown"  # git would answer for a repository around it
    command = ["git", "-C", str(folder), "rev-parse", "--short=10", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
