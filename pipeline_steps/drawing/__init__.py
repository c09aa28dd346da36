"""Draws the sample's characters, each as a colour picture and its sketch.

Belongs here: shapes. How many are drawn, and where they go, ``download`` decides.
"""
