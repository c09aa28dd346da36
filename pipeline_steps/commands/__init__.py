"""Commands that aren't stages, one per file: deliver, dvc_lock, experiment, mlflow_ui, summary.

Doesn't belong here: what ``dvc.yaml`` runs, which is a stage, and registering (``register``).
"""
