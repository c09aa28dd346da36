"""Metrics: how they are computed, their names, units and directions, and the baselines.

Belongs here: what training, evaluation and promotion share. Deciding by scores is ``flows``'s.
"""
