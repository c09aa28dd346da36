"""The stages (verbs) beside the nouns they share; ``dvc.yaml`` is the stages' only link."""
