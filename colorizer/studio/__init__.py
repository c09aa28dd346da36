"""The web studio: an HTTP API that colours sketches, and a page that uses it.

Colouring itself doesn't belong here: the runtime does it.
"""
