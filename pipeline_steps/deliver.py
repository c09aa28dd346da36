"""``python -m pipeline_steps deliver``: what trainings could not tell MLflow when it was away.

Reads .work/train/*/outbox. Can be run again safely.
"""

from pathlib import Path

from pipeline_steps import tracking
from pipeline_steps.courier import deliver_waiting
from pipeline_steps.params import read_params

WORK = Path(".work/train")


def main() -> None:
    """Deliver all that waits."""
    experiment = read_params().tracking.experiment
    client = tracking.connect()
    with tracking.plain_errors():
        deliver_waiting(client, experiment, WORK)
    print("deliver: nothing waits")
