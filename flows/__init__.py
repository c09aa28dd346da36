"""Runs the pipeline on a schedule, and chooses the model that people use.

Belongs here: a file for each command (its arguments and its flow), and below them what they share.
What a stage does belongs in ``pipeline_steps``. No other folder knows Prefect.
"""

import os

from colorizer.base.cores import limit_thread_pools
from pipeline_steps.base.operating_system import require_linux

# each command of this package imports it first, before libraries that may be missing elsewhere
require_linux()
limit_thread_pools()

_LEASES_ON_DISK = "prefect.server.concurrency.lease_storage.filesystem"

# Prefect reads its settings when it's first imported; what the user has set stays
for _name, _value in {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # s: flows.ui.automations has the server mark a run as crashed if none comes for longer
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # s: without a server a flow starts one of its own, which takes a while on a busy machine
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # in memory, the default, a restart of flows.ui.server would lose who holds a limit's slot
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": _LEASES_ON_DISK,
}.items():
    os.environ.setdefault(_name, _value)
