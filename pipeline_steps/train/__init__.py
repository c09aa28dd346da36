"""Stage 3: packed pairs become a generator.

Belongs here: the training loop, its losses, checkpoints and log. The networks are ``networks``'s.
"""
