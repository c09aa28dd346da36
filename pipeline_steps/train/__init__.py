"""The training loop, its losses, augmentation, checkpoints and log: stage ``train``.

Not here: the networks (``networks``), the metrics (``scores``), the packed format (``pairs``).
"""
