"""The exported folder becomes a version in the MLflow registry: a side effect, so no DVC stage.

Not here: moving the aliases ``champion`` and ``previous``, which ``flows.promotion`` does.
"""
