"""``python -m flows.pipeline.run_stage STAGE [--force]``: one DVC stage, ended with its flow.

``dvc repro`` itself outlives a killed parent, and would go on writing beside the next run.
"""

import sys
from pathlib import Path

from pipeline_steps.base.signals import die_with_parent
from pipeline_steps.commands.dvc_lock import FILE, quarantine_truncated_lock


def main() -> int:
    """Run ``dvc repro`` on the one stage."""
    die_with_parent()
    quarantine_truncated_lock(Path(FILE).resolve())
    from dvc.cli import main as dvc

    name, *options = sys.argv[1:]
    return int(dvc(["repro", "--single-item", *options, name]))


if __name__ == "__main__":
    sys.exit(main())
