"""``python -m pipeline_steps NAME``: runs a stage or a command.

What needs neither torch nor MLflow is done before they are imported, which takes seconds: signal
handlers are installed, params checked, and the MLflow server is probed.
"""

import argparse
import ast
import sys
from importlib import import_module
from pathlib import Path

from colorizer.base.cores import limit_thread_pools
from pipeline_steps.base.errors import run_main
from pipeline_steps.base.operating_system import require_linux

STAGES = ("download", "prepare", "train", "evaluate", "export")
COMMANDS = {
    **{stage: f"pipeline_steps.{stage}.stage" for stage in STAGES},
    "register": "pipeline_steps.register.command",
    "bundle": "pipeline_steps.register.bundle",
    "deliver": "pipeline_steps.commands.deliver",
    "dvc_lock": "pipeline_steps.commands.dvc_lock",
    "experiment": "pipeline_steps.commands.experiment",
    "params": "pipeline_steps.params",
    "mlflow_ui": "pipeline_steps.commands.mlflow_ui",
    "remote": "pipeline_steps.commands.remote",
    "source": "pipeline_steps.download.source_version",
    "summary": "pipeline_steps.commands.summary",
}
"""Name → module with a ``main``."""
USES_MLFLOW = ("train", "evaluate", "deliver")
TAKES_ARGUMENTS = ("bundle", "experiment", "mlflow_ui", "register", "remote", "source")


def main() -> None:
    """Run the command named in ``sys.argv``."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        if name:
            print(f"unknown command {name!r}", file=sys.stderr)
        print(f"usage: python -m pipeline_steps {{{','.join(COMMANDS)}}}", file=sys.stderr)
        sys.exit(2)
    sys.argv[:2] = [f"python -m pipeline_steps {name}"]
    if name not in TAKES_ARGUMENTS:
        parse_no_arguments(COMMANDS[name])
    if name in USES_MLFLOW:
        # imported here, after the signal handlers are installed
        from pipeline_steps.params import read_params
        from pipeline_steps.tracking.mlflow_server import require_reachable

        read_params()
        require_reachable()
    import_module(COMMANDS[name]).main()


def parse_no_arguments(module: str) -> None:
    """Print a module's docstring for ``--help``, without importing it; refuse other arguments."""
    file = Path(__file__).parents[1].joinpath(*module.split(".")).with_suffix(".py")
    source = file.read_text(encoding="utf-8")
    argparse.ArgumentParser(
        prog=sys.argv[0],
        description=ast.get_docstring(ast.parse(source)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()


if __name__ == "__main__":
    require_linux()
    limit_thread_pools()
    run_main(main)
