"""The Ray engine of a batch: actors on a cluster, each with the model and a decoder process.

Actors are given names, read the sketches and write the pictures by themselves. So a folder of
sketches, of pictures or of a model must lie on storage that all machines of the cluster share, at
the same path; an ``s3://`` address is the same everywhere.
"""

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from colorizer.base.errors import RayClusterError
from colorizer.base.ray_actors import ActorPool
from colorizer.base.ray_cluster import RayCluster
from colorizer.batch import Outcome, Painter
from colorizer.jobs import Job
from colorizer.look.artwork import Part
from colorizer.pictures.decoder_process import DecoderProcess
from colorizer.pictures.decoding import MAX_SKETCH_PIXELS
from colorizer.runtime import ColorizeOptions, Colorizer
from colorizer.sources import LocalSketches, Sketches
from colorizer.targets import LocalTargets, Targets


def colour_on_ray(
    painter: Painter, cluster: RayCluster, jobs: deque[Job], workers: int | None, device: str
) -> Generator[Outcome, None, None]:
    """Colour by as many actors as the cluster has processors, or ``workers``; on ``cuda`` by one
    per GPU.

    Raises :class:`RayClusterError`.
    """
    if not jobs:
        return
    is_on_gpu = device == "cuda"
    places = cluster.count_gpus() if is_on_gpu else cluster.count_cpus()
    spec = _PainterSpec(
        model=painter.colorizer.model.folder.absolute(),
        onnx_sha256=str(painter.colorizer.model.onnx_sha256),
        device=device,
        sketches=painter.sketches.for_workers(),
        targets=painter.targets.for_workers(),
        options=painter.options,
        part=painter.part,
    )
    num_actors = min(workers or places, len(jobs))
    with ActorPool(cluster, spec.make, num_actors, gpus_per_actor=1 if is_on_gpu else 0) as actors:
        for _, outcome in actors.run(jobs):
            yield outcome


@dataclass(frozen=True, kw_only=True)
class _PainterSpec:
    """What an actor makes its painter from."""

    model: Path
    onnx_sha256: str
    device: str
    sketches: Sketches
    targets: Targets
    options: ColorizeOptions
    part: Part

    def make(self) -> "_RemotePainter":
        """In an actor."""
        return _RemotePainter(self)


# --- in an actor ---------------------------------------------------------------------------------


class _RemotePainter:
    """A painter with its model, and a decoder process that a hostile picture may crash."""

    def __init__(self, spec: _PainterSpec) -> None:
        folders = [spec.model]
        if isinstance(spec.sketches, LocalSketches):
            folders.append(spec.sketches.path)
        if isinstance(spec.targets, LocalTargets):
            folders.append(spec.targets.folder)
        for folder in folders:
            if not folder.exists():
                raise RayClusterError(
                    f"{folder}: a machine of the Ray cluster doesn't see it; put it on storage that"
                    " all of them share, at the same path, or use --engine local"
                )
        colorizer = Colorizer.load(spec.model, threads=1, device=spec.device)
        if colorizer.model.onnx_sha256 != spec.onnx_sha256:
            raise RayClusterError(f"{spec.model}: a machine of the Ray cluster has another model")
        self._painter = Painter(colorizer, spec.sketches, spec.targets, spec.options, spec.part)
        self._decoder = DecoderProcess(max_pixels=MAX_SKETCH_PIXELS)

    def __call__(self, job: Job) -> Outcome:
        return self._painter.colour(job, self._decoder)
