"""``python -m flows.worker``: Prefect's worker, after the ticks that it missed were skipped.

Of the runs that a schedule wanted while no worker was there, the newest is kept for each deployment
of the pool; then this process becomes ``prefect worker start``, with the arguments given. The run
that was kept says for how many ticks it stands.
"""

import argparse
import os
import sys

from flows.errors import run_flow_command


def main() -> None:
    """Skip missed ticks, then be the worker."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.worker",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--pool", default="colorizer", help="work pool (default: %(default)s)")
    arguments, others = parser.parse_known_args()
    # Prefect takes seconds to import
    from flows.ui.missed_ticks import skip_missed_ticks

    for line in skip_missed_ticks(pool=arguments.pool):
        print(f"worker: {line}", flush=True)
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", arguments.pool]
    os.execv(command[0], [*command, *others])


if __name__ == "__main__":
    run_flow_command(main)
