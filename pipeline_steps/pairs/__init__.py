"""The prepared pairs, packed or in shards: how they are written, read, and become model input.

Belongs here: the formats that ``prepare`` writes and later stages read. Finding and checking the
pairs is ``prepare``'s, augmenting them ``train``'s.
"""
