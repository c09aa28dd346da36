"""Driving DVC: reading the stages, running one as a child process, and the clone they run in.

What the stages do is in ``pipeline_steps``; what Prefect shows of them is in ``flows/ui``.
"""
