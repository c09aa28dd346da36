"""``python -m flows.deploy``: send ``prefect.yaml`` to the server, and take nothing away unasked.

``prefect deploy`` replaces a deployment's schedules by those of the file: one that somebody added
on the server's page is gone with its pending runs, and a paused one active again, without a word.
So this command refuses, and names them. ``--replace`` goes on; ``--keep`` sends the others only. It
makes the work pool if it is missing, and sets up the automations (``flows/ui/automations.py``).
"""

import argparse
import subprocess
import sys
from itertools import chain

from flows.errors import ServerError, run_flow_command


def main() -> None:
    """Deploy everything in ``prefect.yaml``."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.deploy",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--replace", action="store_true", help="remove what others have set on the server"
    )
    choice.add_argument(
        "--keep", action="store_true", help="leave deployments as they are where others set some"
    )
    parser.add_argument(
        "--start",
        metavar="SECONDS",
        type=int,
        default=600,
        help="mark a run that is Pending for so long as crashed (default: 600); more for a pool"
        " whose runs wait for a machine or an image",
    )
    arguments = parser.parse_args()
    # Prefect takes seconds to import
    from flows.ui.automations import ensure_crash_detection, ensure_start_detection
    from flows.ui.deployments import ensure_work_pools, named_entries
    from flows.ui.replaced_schedules import find_replaced

    entries = named_entries()
    replaced = find_replaced(entries)
    lines = list(chain.from_iterable(replaced.values()))
    if lines and not (arguments.replace or arguments.keep):
        raise ServerError(
            f"deploying would replace what was set on the server: {'; '.join(lines)}; put it"
            " into prefect.yaml, or give --replace (make deploy REPLACE=1)"
        )
    for line in lines:
        print(f"deploy: {'keeps' if arguments.keep else 'replaces'} {line}", flush=True)
    wanted = [name for name in entries if not (arguments.keep and name in replaced)]
    ensure_work_pools()
    if wanted:
        send(wanted)
    ensure_crash_detection()
    ensure_start_detection(arguments.start)
    print("deployed prefect.yaml: pending runs that people have started are kept", flush=True)


def send(names: list[str]) -> None:
    """Run ``prefect deploy``. Raises :class:`ServerError` with the reason that it gives."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy"]
    command += [word for name in names for word in ("--name", name)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        raise ServerError(f"prefect deploy failed: {lines[-1].strip() if lines else 'no reason'}")


if __name__ == "__main__":
    run_flow_command(main)
