"""MLflow: the server, a training's run, its journal on disk, and the journal's delivery to the run.

Belongs here: everything between a work folder and a tracking server. Promotion is ``flows``'s.
"""
