"""``python -m pipeline_steps deliver``: send what trainings couldn't log while MLflow was down.

Reads ``.work/train/*/outbox``. Running it again sends nothing twice.
"""

from pipeline_steps.base.paths import TRAIN_WORK
from pipeline_steps.params import read_params
from pipeline_steps.tracking import mlflow_server
from pipeline_steps.tracking.courier import deliver_waiting


def main() -> None:
    """Deliver every undelivered entry."""
    experiment = read_params().tracking.experiment
    client = mlflow_server.connect()
    with mlflow_server.plain_errors():
        deliver_waiting(client, experiment, TRAIN_WORK)
    print("deliver: all entries are delivered")
