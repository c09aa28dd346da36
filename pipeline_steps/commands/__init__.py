"""Commands beside the stages, one per file, for users and ``make``: overrides, summary, delivery.

Doesn't belong here: what ``dvc.yaml`` runs, which is a stage, and registering (``register``).
"""
