"""What a retraining shows in the Prefect UI: metrics, pictures, the comparison, links."""

import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)

from colorizer.base.addresses import without_credentials
from colorizer.base.redaction import redact
from pipeline_steps.scores.definitions import BASELINES, GENERATOR, METRIC_TITLES, measured
from pipeline_steps.tracking.mlflow_server import tracking_uri

MAX_WIDTH_PX = 1400
EMBEDDED_UI = "http://127.0.0.1:5000"
"""Where ``make mlflow`` shows the embedded database."""


def show_metrics(evaluation: dict[str, Any]) -> None:
    """The test metrics: a row for the generator and for each baseline."""
    rows = [
        {
            "method": method,
            **{
                METRIC_TITLES[metric]: evaluation[method][metric]
                for metric in measured(evaluation[GENERATOR])
            },
        }
        for method in (GENERATOR, *BASELINES)
    ]
    create_table_artifact(
        key="metrics", table=rows, description=f"on {evaluation['test_pairs']} test pairs"
    )


def show_picture(key: str, path: Path, description: str) -> None:
    """A picture, within the artifact itself: a browser elsewhere can't read this disk."""
    create_image_artifact(key=key, image_url=data_uri(path), description=description)


def show_report(report: str) -> None:
    """The comparison of challenger and champion."""
    create_markdown_artifact(
        key="comparison", markdown=redact(report), description="and the verdict"
    )


def show_links(experiment_id: str, run_id: str, name: str, version: int) -> None:
    """Links to the training's run and the registered version in MLflow."""
    uri = tracking_uri()
    ui = without_credentials(uri).rstrip("/") if uri.startswith("http") else EMBEDDED_UI
    run = f"{ui}/#/experiments/{experiment_id}/runs/{run_id}"
    create_link_artifact(key="mlflow-run", link=run, link_text="training run in MLflow")
    version_page = f"{ui}/#/models/{name}/versions/{version}"
    text = f"{name} version {version} in MLflow"
    create_link_artifact(key="mlflow-version", link=version_page, link_text=text)


def data_uri(path: Path) -> str:
    """A picture file as a JPEG data URI, at most ``MAX_WIDTH_PX`` wide."""
    with Image.open(path, formats=("PNG",)) as picture:
        small = picture.convert("RGB")
    if small.width > MAX_WIDTH_PX:
        height = max(1, round(small.height * MAX_WIDTH_PX / small.width))
        small = small.resize((MAX_WIDTH_PX, height), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")
