"""PostgreSQL's data folder, made as the image's entrypoint makes it at the first start."""

import os
import pwd
import re
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from pipeline_steps.base.errors import PipelineError

SCRIPT = Path(__file__).parent / "databases.sql"
DEBIAN = Path("/usr/lib/postgresql")
PROGRAMS = ("initdb", "postgres", "pg_isready")
INIT_TIMEOUT_S = 300


def find_binaries() -> Path | None:
    """The newest folder with PostgreSQL's programs; None if it isn't installed."""
    found = [Path(at).resolve().parent] if (at := shutil.which("initdb")) else []
    found += sorted(
        DEBIAN.glob("*/bin"),
        key=lambda folder: [int(digits) for digits in re.findall(r"\d+", str(folder))],
        reverse=True,
    )
    return next((at for at in found if all((at / name).is_file() for name in PROGRAMS)), None)


def run_as() -> dict[str, Any]:
    """Options of ``subprocess``: PostgreSQL refuses to run as root, so there it is ``nobody``."""
    if os.geteuid() != 0:
        return {}
    owner = pwd.getpwnam("nobody")
    return {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}


def ensure_cluster(data: Path, binaries: Path, environment: dict[str, str]) -> None:
    """Make the data folder with its user, password and databases, unless it is there.

    Made beside it and renamed, so that a stopped first start leaves nothing half made. Raises
    :class:`PipelineError` with PostgreSQL's reason.
    """
    if (data / "PG_VERSION").exists():
        _require_version(data, binaries)
        return
    partial = data.with_name(f"{data.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700, parents=True)
    with tempfile.NamedTemporaryFile("w", prefix="postgres-") as password:
        password.write(environment["POSTGRES_PASSWORD"])
        password.flush()
        if user := run_as():
            for path in (partial, password.name):
                os.chown(path, user["user"], user["group"])
        words = shlex.split(environment["POSTGRES_INITDB_ARGS"])
        options = ["-D", str(partial), "-U", environment["POSTGRES_USER"]]
        _run([binaries / "initdb", *options, f"--pwfile={password.name}", *words], "")
    script = "".join(
        line for line in SCRIPT.read_text().splitlines(keepends=True) if line[:2] != "--"
    )
    _run([binaries / "postgres", "--single", "-D", str(partial), "postgres"], script)
    if data.exists():
        data.rmdir()
    partial.rename(data)


def _require_version(data: Path, binaries: Path) -> None:
    words = [str(binaries / "postgres"), "--version"]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    major = re.findall(r"\d+", printed)[0]
    if (made := (data / "PG_VERSION").read_text().strip()) != major:
        raise PipelineError(
            f"{data} was made by PostgreSQL {made}, this is {major}: install that one, or"
            " pg_upgrade the folder"
        )


def _run(command: list[str | Path], text: str) -> None:
    done = subprocess.run(
        command,
        input=text,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=INIT_TIMEOUT_S,
        **run_as(),
    )
    errors = [line for line in done.stderr.splitlines() if "ERROR" in line or "error" in line]
    if done.returncode or errors:
        reason = (errors or done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise PipelineError(f"PostgreSQL's data can't be made: {reason}")
