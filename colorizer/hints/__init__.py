"""Hints: colours that an artist gives at places of a sketch; the generator does the rest.

Belongs here: what a hint is, its files, and how hints become the model's input.
"""
