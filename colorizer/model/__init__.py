"""The exported model: the format of its folder, the ONNX session, and the registry it comes from.

Belongs here: finding, checking, loading and running a model. Pictures and layers do not.
"""
