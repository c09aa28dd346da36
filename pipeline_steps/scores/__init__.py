"""Metrics: how they are computed, their names, units and directions, and the trivial answers."""
