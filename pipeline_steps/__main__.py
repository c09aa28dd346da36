"""``python -m pipeline_steps NAME``: the door of every stage and command.

What needs no torch and no MLflow is done here, before they are loaded, which takes seconds: signals
are minded, params checked, and the MLflow server asked whether it's there.
"""

import sys
from importlib import import_module

from pipeline_steps.errors import run_stage

LOGGING = ("train", "evaluate", "export", "register", "deliver")
COMMANDS = (
    *LOGGING,
    *("download", "prepare", "params", "overrides", "summary", "dvc_lock", "embedded_database"),
)
"""Modules with a ``main``."""


def main() -> None:
    """Run the command that is named."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        print(f"usage: python -m pipeline_steps {{{','.join(COMMANDS)}}}", file=sys.stderr)
        sys.exit(2)
    sys.argv[:2] = [f"python -m pipeline_steps {name}"]
    if name in LOGGING:
        # here, so that signals are minded before even these are loaded
        from pipeline_steps.params import read_params
        from pipeline_steps.tracking import require_reachable

        read_params()
        require_reachable()
    import_module(f"pipeline_steps.{name}").main()


if __name__ == "__main__":
    run_stage(main)
