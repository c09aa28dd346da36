"""``python -m flows.dvc_stage STAGE [--force]``: one stage, in a process that dies with its flow.

``dvc repro`` itself outlives a killed parent, and would go on writing beside the next run.
"""

import sys
from pathlib import Path

from pipeline_steps.dvc_lock import FILE, put_broken_away
from pipeline_steps.process import die_with_parent


def main() -> int:
    """Run ``dvc repro`` on the one stage."""
    die_with_parent()
    put_broken_away(Path(FILE).resolve())
    from dvc.cli import main as dvc

    name, *options = sys.argv[1:]
    return int(dvc(["repro", "--single-item", *options, name]))


if __name__ == "__main__":
    sys.exit(main())
