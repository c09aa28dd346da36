"""Stage 1: a source of pairs (drawn, Kaggle, an archive) becomes ``data/raw``.

Belongs here: getting the bytes and checking that they are what was sent. Finding pairs among them
is ``prepare``'s.
"""
