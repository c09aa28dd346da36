"""The packed pairs: how they are written, read, and become tensors."""
