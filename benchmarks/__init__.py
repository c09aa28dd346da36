"""Measurements of speed, beside what people use today; nothing of the pipeline imports this."""
