"""Runs the pipeline, and chooses the model that people use. No other room knows Prefect."""

import os

# Prefect reads its settings when it's first imported; what is set already stays
for _name, _value in {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    # s: flows.ui.automations has the server mark a run as crashed that is silent for longer
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    # s: without a server a flow starts one of its own, which takes a while on a busy machine
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
}.items():
    os.environ.setdefault(_name, _value)
