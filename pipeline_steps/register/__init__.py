"""The exported folder becomes a version in the MLflow registry: a side effect, so no DVC stage."""
