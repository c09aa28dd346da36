"""MLflow: the server, a training's run, and its delivery from disk.

Belongs here: everything between a work folder and a tracking server. Promotion is ``flows``'s.
"""
