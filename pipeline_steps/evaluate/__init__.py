"""Stage 4: the generator's test metrics and picture grids, compared with the baselines.

Belongs here: what is measured on test pairs. The metrics themselves are in ``scores``.
"""
