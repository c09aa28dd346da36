"""Small commands beside the stages: checks, overrides, the summary, delivery to MLflow.

Belongs here: what a person or ``make`` calls and DVC doesn't cache.
"""
