"""Run a studio on loopback in this process, and replace the model that it serves."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import requests
import uvicorn

from colorizer.model.folder import CARD_FILE, CHECKSUMS_FILE, ONNX_FILE, compute_checksums
from colorizer.studio.app import create_app
from colorizer.studio.limits import Limits
from colorizer.studio.models import Models
from colorizer.studio.same_site import LOOPBACK_NAMES, close_to_other_sites
from tests.colorizer.conftest import copy_as_toy
from tests.whole.prefect_stack import free_port


class Studio(NamedTuple):
    url: str
    models: Models
    folder: Path
    """The model folder that it serves."""

    def post(self, data: Any, **query: Any) -> requests.Response:
        return requests.post(f"{self.url}/colorize", data=data, params=query, timeout=60)


@contextmanager
def running_studio(
    model_folder: Path,
    home: Path,
    limits: Limits | None = None,
    *,
    refresh_s: float = 0.2,
    other_folder: Path | None = None,
) -> Iterator[Studio]:
    folder = Path(shutil.copytree(model_folder, home / "served"))
    toy = copy_as_toy(model_folder, home / "toy")
    sources = {"folder": str(folder), "other": str(other_folder or model_folder), "toy": str(toy)}
    models = Models(sources, threads=1, refresh_s=refresh_s)
    models.start()
    port = free_port()
    app = close_to_other_sites(create_app(models, limits), LOOPBACK_NAMES)
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", ws="none")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline_s = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    try:
        yield Studio(f"http://127.0.0.1:{port}", models, folder)
    finally:
        server.should_exit = True
        thread.join(30)
        models.close()


def replace_model(folder: Path, card: str, onnx: bytes | None = None) -> None:
    """Replace a folder by another export, as ``dvc repro`` does: deleted, then created."""
    other = Path(shutil.copytree(folder, folder.with_name("other")))
    (other / CARD_FILE).write_text(card)
    if onnx is not None:
        (other / ONNX_FILE).write_bytes(onnx)
    (other / CHECKSUMS_FILE).write_text(json.dumps(compute_checksums(other)))
    shutil.rmtree(folder)
    other.rename(folder)
