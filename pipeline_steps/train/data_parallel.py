"""Data parallel training in plain torch: the same program in 1 or n processes.

``torchrun --nproc-per-node N -m pipeline_steps train`` starts them. Every process draws the same
networks from the seed, takes its share of each global batch and averages gradients with the others
before each optimizer's step, so weights stay equal everywhere; only rank 0 writes. Gradients are
averaged here and not by ``DistributedDataParallel``, which wants one forward for each backward and
parameters that never stop learning, while a GAN's step has neither.

Batch normalization takes its statistics over a process's own share, as it does over a part of an
accumulated batch: n processes equal one process with ``accumulation_steps`` n.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous


@dataclass(frozen=True)
class ProcessGroup:
    """Who trains together."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and logs."""
        return self.rank == 0

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes: one message for all of them."""
        if self.count == 1:
            return
        gradients = [weight.grad for weight in parameters if weight.grad is not None]
        flat = self.average(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))

    def wait(self) -> None:
        """Go on when all processes have come this far."""
        if self.count > 1:
            distributed.barrier()

    def any(self, is_so: bool, device: torch.device) -> bool:
        """Whether it is so in one of the processes; all must ask at the same moment."""
        if self.count == 1:
            return is_so
        return bool(self.average(torch.tensor(float(is_so), device=device)) > 0)

    def average(self, values: Tensor) -> Tensor:
        """Mean over the processes, in place; the host doesn't wait for it on CUDA."""
        if self.count > 1:
            distributed.all_reduce(values)
            values /= self.count
        return values


SINGLE_PROCESS = ProcessGroup()


@contextmanager
def join_process_group() -> Iterator[ProcessGroup]:
    """Meet the other processes that ``torchrun`` started; alone where it started none."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield SINGLE_PROCESS
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    store, rank, _ = next(rendezvous("env://"))
    # torchrun keeps its store over restarts: a quick process would find a dead one's address there
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    distributed.init_process_group(
        "nccl" if torch.cuda.is_available() else "gloo",
        store=PrefixStore(f"attempt-{attempt}", store),
        rank=rank,
        world_size=count,
    )
    try:
        yield ProcessGroup(distributed.get_rank(), count)
    finally:
        distributed.destroy_process_group()
