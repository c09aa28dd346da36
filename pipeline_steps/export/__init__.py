"""Stage 5: the generator becomes a checked, self-contained folder.

Belongs here: ONNX, its comparison with torch, the model card. The folder's format is
``colorizer.model``'s.
"""
