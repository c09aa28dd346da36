"""Stage 4: the generator's test metrics and picture grids, beside the baselines.

Belongs here: what is measured on test pairs. The metrics themselves are in ``scores``.
"""
