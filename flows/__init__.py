"""Runs the pipeline, and chooses the model that people use. No other room knows Prefect."""
