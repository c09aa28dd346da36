"""What talks to Prefect: artifacts, automations, approval, flow runs, and its server."""
