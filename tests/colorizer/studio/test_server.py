"""``colorize studio`` says before any address why it can't serve there."""

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from colorizer.studio import server


def test_a_port_that_is_taken_is_reported_in_one_line_before_the_models_load(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert server.main(["--port", str(port), "--model", "nowhere"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    reason = f"port {port} is in use by another program; choose another by --port (make: PORT=…)"
    assert err == f"error: {reason}\n"


def test_a_model_folder_that_is_not_there_ends_the_studio(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model, reason in (
        (tmp_path / "none", f"error: no model folder {tmp_path}/none; "),
        (tmp_path, f"error: {tmp_path}: not an exported model: "),
        ("models:/tiny", "error: models:/tiny: must be models:/NAME@ALIAS or "),
    ):
        assert server.main(["--port", "0", "--model", str(model)]) == 1
        out, err = capsys.readouterr()
        assert (out, err.count("\n")) == ("", 1)
        assert err.startswith(reason)


@pytest.mark.parametrize("host", ["192.0.2.7", "nobody.invalid"])
def test_an_address_that_is_not_this_machines_is_reported_by_the_option(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert server.main(["--host", host, "--port", "0", "--model", "nowhere"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(rf"error: --host {re.escape(host)} can't be bound \(.+\)\n", err)


@pytest.mark.parametrize("port", ["-1", "65536", "http", "１"])
def test_an_impossible_port_is_refused_by_the_name_of_its_option(
    port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        server.main([f"--port={port}"])
    assert f"argument --port: must be 0 to 65535, got {port}" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_free_port_is_found_and_an_interrupt_ends_the_studio_without_a_traceback(
    host: str, model_folder: Path
) -> None:
    command = [sys.executable, "-m", "colorizer", "studio", "--host", host, "--port", "0"]
    with subprocess.Popen(
        [*command, "--model", str(model_folder), "--workers", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as studio:
        assert studio.stdout
        assert studio.stderr
        lines = [studio.stdout.readline(), studio.stdout.readline()]
        address = re.fullmatch(r"studio: (http://.*:[1-9]\d*)\n", lines[1])
        assert address, (lines, studio.poll())
        health = requests.get(f"{address[1]}/health", timeout=30, headers={"Host": "localhost"})
        assert health.json()["ok"] is True
        studio.send_signal(signal.SIGINT)
        studio.wait(30)
        assert studio.stderr.read() == ""
