"""Generator and discriminator of pix2pix in plain torch.

Belongs here: layers and weights. Training them is ``train``'s. No MLflow, DVC or Prefect.
"""
