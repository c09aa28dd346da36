"""``python -m pipeline_steps deliver``: what trainings could not tell MLflow when it was away.

Reads .work/train/*/outbox. Can be run again safely.
"""

from pipeline_steps.base.paths import TRAIN_WORK
from pipeline_steps.params import read_params
from pipeline_steps.tracking import mlflow_server
from pipeline_steps.tracking.courier import deliver_waiting


def main() -> None:
    """Deliver all that waits."""
    experiment = read_params().tracking.experiment
    client = mlflow_server.connect()
    with mlflow_server.plain_errors():
        deliver_waiting(client, experiment, TRAIN_WORK)
    print("deliver: nothing waits")
