import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from colorizer.base.addresses import without_credentials
from colorizer.base.redaction import redact
from pipeline_steps.base.errors import TrackingError
from pipeline_steps.tracking import mlflow_server, runs


@pytest.fixture
def server() -> Iterator[str]:
    """A loopback server that rejects every request."""

    class Rejecting(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 401)
            self.end_headers()
            self.wfile.write(b"OK")

        do_POST = do_GET  # noqa: N815 — the name http.server calls

        def log_message(self, *_: object) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Rejecting)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://name:word@127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    httpd.server_close()
    thread.join(timeout=10)


def test_the_default_database_is_at_the_root(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert mlflow_server.tracking_uri() == f"sqlite:///{in_folder.resolve()}/mlflow.db"
    monkeypatch.setenv("DVC_ROOT", "/elsewhere")
    assert mlflow_server.tracking_uri() == "sqlite:////elsewhere/mlflow.db"


def test_the_environment_sets_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert mlflow_server.tracking_uri() == "http://tracking:5000"


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://name:p%40ss@host:5000/a", "http://host:5000/a"),
        ("https://host", "https://host"),
        ("sqlite:////x/mlflow.db", "sqlite:////x/mlflow.db"),
    ],
)
def test_names_and_passwords_are_never_shown(uri: str, shown: str) -> None:
    assert without_credentials(uri) == shown


def test_a_missing_server_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://name:word@127.0.0.1:9")
    with pytest.raises(TrackingError) as missing:
        mlflow_server.connect()
    assert redact(str(missing.value)).startswith("no MLflow server answers at http://127.0.0.1:9 (")


def test_a_server_that_rejects_the_request_is_reported(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    with pytest.raises(TrackingError, match="rejected the request") as rejected:
        mlflow_server.connect()
    shown = redact(str(rejected.value))
    assert shown.startswith(f"MLflow at {without_credentials(server)} rejected the request")
    assert "name:word" not in shown


def test_git_tags_name_the_commit_and_whether_files_differ(in_folder: Path) -> None:
    assert runs.git_tags() == {}
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@t"]
    Path("file").write_text("1")
    for command in (["init", "-q", "-b", "main"], ["add", "file"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], check=True)
    clean = runs.git_tags()
    assert len(clean["mlflow.source.git.commit"]) == 40
    assert (clean["git.dirty"], clean["mlflow.source.git.branch"]) == ("false", "main")
    Path("file").write_text("2")
    assert runs.git_tags()["git.dirty"] == "true"
