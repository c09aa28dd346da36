"""The pipeline: a folder for each stage, and below them in the import order what stages share.

Stages don't import each other: they exchange only the files that ``dvc.yaml`` names.
"""
