"""Stage 3: packed pairs → generator, history, sample strips, and an MLflow run.

Reads  data/prepared/{train,val}.npy
Writes models/generator.safetensors (best by val), models/generator_last.safetensors,
       models/run.json (the MLflow run), reports/train/{history.csv,strips.png},
       metrics/training.json
Works in .work/train/<fingerprint>/: checkpoints and samples. To resume, run the same again.
       .work/inductor/: what ``torch.compile`` made, kept between runs

On several GPUs: ``torchrun --nproc-per-node N -m pipeline_steps.train``.

What can be refused without torch is refused here, since loading it takes seconds; the work itself
is in ``training``.
"""

from pipeline_steps import tracking
from pipeline_steps.errors import run_stage
from pipeline_steps.params import read_params


def main() -> None:
    """Train as ``params.yaml`` says, alone or with the processes that ``torchrun`` started."""
    params = read_params()
    tracking.require_reachable()

    from pipeline_steps.training import run_training

    run_training(params)


if __name__ == "__main__":
    run_stage(main)
