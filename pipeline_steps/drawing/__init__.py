"""Draws the sample's characters, each as a colour picture and its sketch.

Belongs here: shapes and colours of characters. Their number and the files belong to ``download``.
"""
