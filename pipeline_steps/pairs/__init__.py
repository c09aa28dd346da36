"""The packed pairs: how they are written, read, and become model input.

Belongs here: the one format that ``prepare`` writes and later stages read. Finding and checking the
pairs is ``prepare``'s, augmenting them ``train``'s.
"""
