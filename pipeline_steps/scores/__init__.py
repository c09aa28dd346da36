"""Metrics: how they are computed, their names, units and directions, the baselines, line styles.

Belongs here: what training, evaluation and promotion share. Deciding by scores is ``flows``'s.
"""
