"""What talks to Prefect: its client, server, artifacts, automations, approval, runs, lease.

The flows themselves are the command files in ``flows``; decisions are in ``promotion``.
"""
