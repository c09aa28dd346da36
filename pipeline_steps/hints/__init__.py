"""Hints on packed pairs, whose true colours are known: drawn for training, and for evaluation."""
