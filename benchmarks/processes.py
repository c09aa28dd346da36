"""Compare images/s of one process and of two that share a batch, over gloo on this machine.

    python -m benchmarks.processes --batch-size 16

On two cores it can only show the overhead of sharing: one process with two threads uses the same
cores as two processes with one thread each.
"""

import argparse
import os
import socket
import time
from dataclasses import dataclass
from typing import Any

import torch
import torch.multiprocessing as torch_processes

from benchmarks.timing import ratios, spread
from benchmarks.training_step import build_ours, paper_params, random_pairs
from pipeline_steps.train import trainer
from pipeline_steps.train.data_parallel import ProcessGroup, join_process_group
from pipeline_steps.train.device import choose_autocast_dtype, make_deterministic
from pipeline_steps.train.memory import keep_freed_memory

ROUNDS = 3
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Layout:
    """Number of processes, and of threads in each."""

    processes: int
    threads: int


LAYOUTS = {
    "1 process, 1 thread": Layout(1, 1),
    "1 process, 2 threads": Layout(1, 2),
    "2 processes, 1 thread each": Layout(2, 1),
}


def main() -> None:
    """Time the layouts in alternating rounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=int, default=16, help="over all processes")
    parser.add_argument("--steps", type=int, default=3, help="per round")
    arguments = parser.parse_args()
    rates: dict[str, list[float]] = {name: [] for name in LAYOUTS}
    context = torch_processes.get_context("spawn")
    for _ in range(ROUNDS):
        for name, layout in LAYOUTS.items():
            results = context.SimpleQueue()
            torch_processes.start_processes(  # type: ignore[no-untyped-call, attr-defined]
                run_round,
                (layout, arguments.batch_size, arguments.steps, free_port(), results),
                nprocs=layout.processes,
            )
            rates[name].append(results.get())
    print(f"the paper's networks at 256 px, global batch {arguments.batch_size}, {ROUNDS} rounds")
    reference = next(iter(rates.values()))
    for name, values in rates.items():
        print(f"  {name:<28}{spread(values)!s:<24} images/s  {ratios(values, reference)}×")


def run_round(
    rank: int, layout: Layout, batch_size: int, steps: int, port: int, results: Any
) -> None:
    """Run one process of a round; rank 0 returns images/s through ``results``."""
    keep_freed_memory()
    torch.set_num_threads(layout.threads)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(layout.processes)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    params = paper_params(batch_size=batch_size)
    make_deterministic()
    with join_process_group(CPU) as processes:
        state = build_ours(params, CPU)
        pairs = random_pairs(batch_size // processes.count, CPU)
        dtype = choose_autocast_dtype(params.precision, CPU)

        def step(processes: ProcessGroup = processes) -> None:
            trainer.update(state, pairs, params, dtype, processes=processes)

        step()
        processes.wait()
        start_s = time.perf_counter()
        for _ in range(steps):
            step()
        processes.wait()
        if processes.is_main:
            results.put(steps * batch_size / (time.perf_counter() - start_s))


def free_port() -> int:
    """Find an unused loopback port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


if __name__ == "__main__":
    main()
