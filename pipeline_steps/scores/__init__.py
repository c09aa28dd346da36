"""Metrics: how they are computed, their names, units and directions, and the baselines.

Belongs here: what training, evaluating and promoting all score by. Deciding by it is ``flows``'s.
"""
