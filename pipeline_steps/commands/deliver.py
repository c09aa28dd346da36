"""``python -m pipeline_steps deliver``: send what trainings logged while MLflow was down.

Reads .work/train/*/outbox. Also sends again what the server rejected before, e.g. since its limit
of a request's size was raised. Can be run again safely.
"""

from pipeline_steps.base.errors import TrackingError
from pipeline_steps.base.paths import TRAIN_WORK
from pipeline_steps.params import read_params
from pipeline_steps.tracking import mlflow_server
from pipeline_steps.tracking.delivery import deliver_waiting


def main() -> None:
    """Bring every run up to date that has entries waiting."""
    experiment = read_params().tracking.experiment
    client = mlflow_server.connect()
    with mlflow_server.plain_errors():
        lacking = deliver_waiting(
            client, experiment, TRAIN_WORK, command="deliver", also_rejected=True
        )
    if lacking:
        entries = "1 entry isn't" if lacking == 1 else f"{lacking} entries aren't"
        raise TrackingError(f"{entries} delivered, for the reasons above")
    print("deliver: all entries are delivered")
