"""Stage 1: a source of pairs (drawn, Kaggle, an archive) becomes ``data/raw``.

Belongs here: getting bytes and checking that they are what was sent. ``prepare`` finds pairs.
"""
