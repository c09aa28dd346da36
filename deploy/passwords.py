"""``python -m deploy.passwords``: make ``deploy/.env``, the stack's passwords and addresses.

Docker Compose and ``make stack`` read it; clients do with ``set -a; . deploy/.env; set +a``. It is
readable by its owner alone, ignored by git and by image builds, and never printed. A file that is
there already is kept, since PostgreSQL's data can be opened with its password only.
"""

import os
import secrets
from pathlib import Path

from pipeline_steps.base.errors import PipelineError, run_main

ENV_FILE = Path(__file__).parent / ".env"
TEMPLATE = """\
# made by make passwords; keep it to yourself
POSTGRES_PASSWORD={postgres}
PREFECT_API_AUTH_STRING=admin:{prefect}
AWS_ACCESS_KEY_ID=colorizer
AWS_SECRET_ACCESS_KEY={s3}

# addresses on this machine, for clients; compose.yaml has its own
AWS_ENDPOINT_URL_S3=http://127.0.0.1:8333
AWS_DEFAULT_REGION=us-east-1
MLFLOW_TRACKING_URI=http://127.0.0.1:5000
PREFECT_API_URL=http://127.0.0.1:4200/api
"""


def make_passwords(path: Path) -> bool:
    """Write random passwords to ``path`` with mode 600; False if the file exists.

    Raises :class:`PipelineError` if it can't be written.
    """
    text = TEMPLATE.format(
        **{name: secrets.token_hex(24) for name in ("postgres", "prefect", "s3")}
    )
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        try:
            os.link(partial, path)  # unlike a rename, it never replaces a file
        except FileExistsError:
            return False
        finally:
            partial.unlink()
    except OSError as error:
        raise PipelineError(f"{path}: can't be written ({error.strerror})") from None
    return True


def read_env_file(path: Path) -> dict[str, str]:
    """The variables of a file of ``NAME=value`` lines."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def main() -> None:
    """Make the file, unless it is there."""
    made = make_passwords(ENV_FILE)
    print(f"passwords: {ENV_FILE} {'made' if made else 'kept as it is'}")


if __name__ == "__main__":
    run_main(main)
