"""A decision whose comparison can't be sent to MLflow."""

from pathlib import Path

import pytest
import requests

from flows.promotion import ledger
from flows.promotion.ledger import Entry
from pipeline_steps.tracking import mlflow_server


def test_a_decision_is_finished_though_its_comparison_is_rejected(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    def reject(*_: object) -> None:
        response = requests.Response()
        response.status_code, response.url = 413, "http://alice:word@tracking/per_picture.csv"
        raise requests.HTTPError("no", response=response)

    monkeypatch.delenv("DVC_ROOT", raising=False)
    client = mlflow_server.connect()
    entry = Entry(
        action="promoted",
        version=1,
        champion_before=None,
        champion=1,
        previous=None,
        reason="",
        by="",
    )
    entry = ledger.append_intent(client, "tiny", entry)
    monkeypatch.setattr(MlflowClient, "log_artifacts", reject)
    with pytest.warns(UserWarning, match="isn't kept with decision 1: .* answered 413") as warned:
        ledger.finish(client, entry, in_folder)
    assert "word" not in str(warned[0].message)
    assert [each.state for each in ledger.read_entries(client, "tiny")] == ["done"]
