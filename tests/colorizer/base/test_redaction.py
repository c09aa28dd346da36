"""What a process prints and logs shows no secret, whoever writes it and however it's spelled."""

import base64
import json
import logging
import os
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest

from colorizer.base import redaction
from colorizer.base.redaction import add_secrets, redact, redact_error

PASSWORD = "canary-5f1e/+p@ss"
QUOTED = urllib.parse.quote(PASSWORD, safe="")
BASIC = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()


@pytest.fixture(autouse=True)
def _no_other_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_added", set())
    for name in list(os.environ):
        if name != "PATH":
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    "text",
    [
        PASSWORD,
        f"x{PASSWORD}y",
        QUOTED,
        QUOTED.lower(),
        urllib.parse.quote(PASSWORD),
        json.dumps(PASSWORD),
        BASIC,
        base64.b64encode(f"xy{PASSWORD}".encode()).decode(),
        base64.urlsafe_b64encode(f"x{PASSWORD}:".encode()).decode(),
        f"http://alice:{QUOTED}@host:5000/api",
        f"http://alice:{PASSWORD}@host:5000/api",
    ],
)
@pytest.mark.parametrize(
    "environment",
    [
        {"MLFLOW_TRACKING_URI": f"http://alice:{QUOTED}@host:5000"},
        {"MLFLOW_REGISTRY_URI": f"http://alice:{QUOTED}@host:5000"},
        {"https_proxy": f"http://alice:{QUOTED}@proxy:3128"},
        {"PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://alice:{QUOTED}@db/p"},
        {"MLFLOW_TRACKING_USERNAME": "alice", "MLFLOW_TRACKING_PASSWORD": PASSWORD},
        {"MLFLOW_TRACKING_TOKEN": PASSWORD},
        {"PREFECT_API_AUTH_STRING": f"alice:{PASSWORD}"},
        {"PREFECT_API_KEY": PASSWORD},
        {"KAGGLE_USERNAME": "alice", "KAGGLE_KEY": PASSWORD},
        {"KAGGLE_API_TOKEN": PASSWORD},
        {"AWS_SECRET_ACCESS_KEY": PASSWORD},
    ],
)
def test_a_secret_of_the_environment_is_hidden_in_every_spelling(
    text: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    shown = redact(f"said: {text} and more")
    assert shown.startswith("said: ")
    assert shown.endswith(" and more")
    for spelling in (PASSWORD, QUOTED, QUOTED.lower(), BASIC[8:], "canary"):
        assert spelling not in shown
    assert base64.b64encode(PASSWORD[2:8].encode()).decode() not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET http://bob:pw@host/a?b=c failed", "GET http://host/a?b=c failed"),
        ("postgresql+asyncpg://bob:p@w@db:5432/x", "postgresql+asyncpg://db:5432/x"),
        ("{'Authorization': 'Basic Ym9iOnB3'}", "{'Authorization': 'Basic ***'}"),
        ("authorization: Bearer abc.def", "authorization: Bearer ***"),
        ("https://s3/x?X-Amz-Signature=0a1b&n=1", "https://s3/x?X-Amz-Signature=***&n=1"),
        ("mail bob@host, models:/m@champion", "mail bob@host, models:/m@champion"),
        ("see https://host/@bob and https://host", "see https://host/@bob and https://host"),
        ("sqlite:////x@y/mlflow.db", "sqlite:////x@y/mlflow.db"),
    ],
)
def test_what_looks_like_a_secret_is_hidden_although_none_is_known(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_a_password_that_should_have_been_percent_encoded_is_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://alice:odd#pass/word@host:5000")
    assert redact("no host in http://alice:odd#pass/word@host:5000") == (
        "no host in http://alice:***@host:5000"
    )


def test_a_webhook_is_hidden_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK_URL", "https://hooks.example/services/T1/B2/c4n4ry")
    assert redact("404 for https://hooks.example/services/T1/B2/c4n4ry") == "404 for ***"
    assert redact("POST /services/T1/B2/c4n4ry") == "POST /***"


def test_a_short_password_is_hidden_where_it_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "test")
    assert redact("test is wrong; test_pairs and latest") == "*** is wrong; test_pairs and latest"
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "1")
    assert redact("1 of 12 in http://alice:1@host") == "1 of 12 in http://host"


def test_what_is_no_secret_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    monkeypatch.setenv("GIT_SSH", "ssh://git@host/repository")
    monkeypatch.setenv("COLORIZER_MODEL", "models:/sketch-colorizer@champion")
    text = "false: http://127.0.0.1:5000 has no sketch-colorizer@champion; git, 5000"
    assert redact(text) == text


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["a.b-", "QUJD+/", "x://y", "?a", "&a-", "Authorization: "])
def test_a_long_text_takes_linear_time(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quadratic time would be hours: a report holds pictures of 200 KB in base64."""
    monkeypatch.setenv("KAGGLE_KEY", PASSWORD)
    shown = redact(f"{piece * 50_000} {BASIC} http://bob:pw@host")
    assert shown.endswith(" *** http://host")


def test_secrets_from_elsewhere_are_added() -> None:
    add_secrets("admin:from-a-file", None, "http://localhost/api", "http://bob:in-a-profile@h/api")
    text = "admin, from-a-file, http://localhost/api, in-a-profile"
    assert redact(text) == "admin, ***, http://localhost/api, ***"


def test_an_exception_and_its_causes_are_redacted_in_place() -> None:
    cause = OSError(2, "refused http://bob:pw@host")
    error = ValueError("at http://bob:pw@host", 7)
    error.__cause__ = cause
    redact_error(error)
    assert error.args == ("at http://host", 7)
    assert cause.args == (2, "refused http://host")


EVERY_WAY = """
import contextlib, io, logging, subprocess, sys, threading, traceback, warnings, gc

class Early(logging.Handler):
    def emit(self, record):
        sys.stdout.buffer.write(("handled: " + self.format(record) + "\\n").encode())
        sys.stdout.buffer.flush()

early = logging.getLogger("early")
early.addHandler(logging.StreamHandler())
early.addHandler(Early())
err, out = sys.stderr, sys.__stdout__

from colorizer.base.redaction import redact_output
redact_output()
redact_output()
S = "http://alice:CANARY-1@127.0.0.1/ CANARY-1"

def fail():
    try:
        raise OSError("inner " + S)
    except OSError as error:
        raise RuntimeError("outer " + S) from error

print("printed", S)
print("printed", S, file=err)
out.write("written " + S + "\\n")
err.writelines(["line " + S + "\\n"])
warnings.warn("warned " + S)
early.error("logged %s", S)
logging.getLogger("late").error("late %s", S, stack_info=True)
logging.getLogger("late").error("wrong arguments %s %s", S)
try:
    fail()
except RuntimeError:
    early.exception("caught")
    traceback.print_exc()
thread = threading.Thread(target=fail)
thread.start()
thread.join()

class Unraisable:
    def __del__(self):
        fail()

Unraisable()
gc.collect()
print("end", file=err)
fail()
"""


def test_nothing_that_a_process_writes_shows_a_secret(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(EVERY_WAY)
    done = subprocess.run(
        [sys.executable, str(script)],
        env={
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "MLFLOW_TRACKING_URI": "http://alice:CANARY-1@127.0.0.1/",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    for what in ("printed http://127.0.0.1/ ***", "written http", "handled: logged http"):
        assert what in done.stdout
    for what in ("line http", "warned http", "logged http", "late http", "inner http", "end\n"):
        assert what in done.stderr
    for what in ("Exception in thread", "Exception ignored in", "Logging error"):
        assert what in done.stderr
    assert done.stderr.count("RuntimeError: outer http://127.0.0.1/ ***\n") == 5
    # Python prints the source line of a traceback, where the script spells it out
    output = (done.stdout + done.stderr).replace('S = "http://', "")
    assert "CANARY" not in output


def test_a_program_that_imports_the_runtime_logs_as_it_likes() -> None:
    code = """
import logging, sys
import colorizer, colorizer.runtime, colorizer.model.registry, colorizer.cli
assert logging.getLogRecordFactory() is logging.LogRecord
assert "write" not in vars(sys.stdout) and "write" not in vars(sys.stderr)
assert sys.excepthook is sys.__excepthook__
"""
    subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
        check=True,
        timeout=60,
    )


def test_an_unchanged_record_keeps_its_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Formatters read them, such as uvicorn's of requests."""
    factory = redaction._RedactedRecords(logging.LogRecord)
    record = factory("n", logging.INFO, "f", 1, "%s %d", ("a", 2), None)
    assert record.args == ("a", 2)
    record = factory("n", logging.INFO, "f", 1, "%s %d", ("http://a:b@h", 2), None)
    assert record.getMessage() == "http://h 2"
