"""The exported model: its folder's format, checks, the ONNX session, fetching from a registry.

Decoding pictures and what is done to colours afterwards don't belong here.
"""
