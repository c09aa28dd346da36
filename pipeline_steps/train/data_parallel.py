"""Data parallel training in plain torch: the same program in 1 or n processes.

``torchrun --nproc-per-node N -m pipeline_steps train`` starts them. Every process draws the same
networks from the seed, takes its share of each global batch and averages gradients with the others
before each optimizer's step, so weights stay equal everywhere; only rank 0 writes. Gradients are
sent while the backward pass goes on, as ``DistributedDataParallel`` does; that expects one forward
pass for each backward pass and a fixed set of trained parameters, and a GAN's step has neither.

Batch-norm statistics are those of a process's own share, as they are those of a part of an
accumulated batch: n processes equal one process with ``accumulation_steps`` n.
"""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from pipeline_steps.base.errors import TrainingError
from pipeline_steps.train.optimizer import in_memory_order

STARTED = "WORLD_SIZE"
"""How many processes ``torchrun`` has started."""
MIN_SENT_BYTES = 1 << 20
"""Smaller gradients are sent together: each message costs about as much as 100 KB."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process's rank, and how many processes train together."""

    rank: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, the process that writes and logs."""
        return self.rank == 0

    @contextmanager
    def averaged_gradients(self, network: nn.Module, *, passes: int = 1) -> Iterator[None]:
        """Replace the gradients of the backward passes inside by their means over the processes.

        A gradient is sent once it is complete, in its pass of number ``passes``, while the backward
        pass goes on. Every process runs the same passes: they send in the same order.
        """
        if self.count == 1:
            yield
            return
        exchange = GradientExchange(passes)
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        hooks = [weight.register_post_accumulate_grad_hook(exchange.take) for weight in weights]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
        exchange.finish(self.count)

    def wait(self) -> None:
        """Wait until every process has called this."""
        if self.count > 1:
            distributed.barrier()

    def any(self, is_so: bool, device: torch.device) -> bool:
        """Whether it is so in one of the processes. Collective: every process must call it."""
        if self.count == 1:
            return is_so
        return bool(self.average(torch.tensor(float(is_so), device=device)) > 0)

    def average(self, values: Tensor) -> Tensor:
        """Mean over the processes, in place; asynchronous on CUDA."""
        if self.count > 1:
            distributed.all_reduce(values)
            values /= self.count
        return values


class GradientExchange:
    """Sums gradients over the processes as they come; large ones in place, small ones together."""

    def __init__(self, passes: int) -> None:
        self._passes = passes
        self._times_seen: Counter[Tensor] = Counter()
        self._waiting: list[Tensor] = []
        self._sent: list[tuple[distributed.Work, Tensor, list[Tensor]]] = []

    def take(self, weight: Tensor) -> None:
        """Send the gradient of a weight if it is complete, or keep it until there are more."""
        self._times_seen[weight] += 1
        if self._times_seen[weight] < self._passes or weight.grad is None:
            return
        gradient = in_memory_order(weight.grad)
        if gradient.nbytes >= MIN_SENT_BYTES:
            self._send([gradient])
            return
        self._waiting.append(gradient)
        if sum(gradient.nbytes for gradient in self._waiting) >= MIN_SENT_BYTES:
            self._send_waiting()

    def finish(self, count: int) -> None:
        """Send what is left, wait for all, and divide by the ``count`` of processes."""
        self._send_waiting()
        for work, values, gradients in self._sent:
            work.wait()
            values /= count
            if len(gradients) > 1:
                parts = values.split([gradient.numel() for gradient in gradients])
                for gradient, part in zip(gradients, parts, strict=True):
                    gradient.copy_(part.view(gradient.shape))

    def _send_waiting(self) -> None:
        if self._waiting:
            self._send(self._waiting)
            self._waiting = []

    def _send(self, gradients: list[Tensor]) -> None:
        values = gradients[0]
        if len(gradients) > 1:
            values = torch.cat([gradient.flatten() for gradient in gradients])
        work = distributed.all_reduce(values, async_op=True)
        self._sent.append((work, values, gradients))


SINGLE_PROCESS = ProcessGroup()


@contextmanager
def join_process_group(device: torch.device) -> Iterator[ProcessGroup]:
    """Join the process group of ``torchrun``; without it, a group of this process alone.

    Ray Train has its processes join one before, each with a GPU of its own.

    On CUDA each process of a machine takes a GPU of its own, by its local rank. Raises
    :class:`TrainingError` if there are more processes than GPUs.
    """
    if distributed.is_initialized():
        yield ProcessGroup(distributed.get_rank(), distributed.get_world_size())
        return
    count = int(os.environ.get(STARTED, "1"))
    if count == 1:
        yield SINGLE_PROCESS
        return
    if device.type == "cuda":
        take_gpu(int(os.environ.get("LOCAL_RANK", "0")))
    store, rank, _ = next(rendezvous("env://"))
    # torchrun keeps its store over restarts: without a prefix a restarted process might read the
    # address of one that was killed
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        store=PrefixStore(f"attempt-{attempt}", store),
        rank=rank,
        world_size=count,
    )
    try:
        yield ProcessGroup(distributed.get_rank(), count)
    finally:
        distributed.destroy_process_group()


def take_gpu(local_rank: int) -> None:
    """Use the GPU of this rank; raises :class:`TrainingError` if there is none."""
    count = torch.cuda.device_count()
    if local_rank >= count:
        raise TrainingError(
            f"torchrun: process {local_rank + 1} of this machine has no GPU, it has {count};"
            f" set --nproc-per-node to {count}, or train.device to cpu"
        )
    torch.cuda.set_device(local_rank)
