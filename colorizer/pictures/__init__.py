"""A picture file → pixels: decoded within limits, cleaned up as line art, fitted to the model.

Colouring, and writing picture files, don't belong here.
"""
