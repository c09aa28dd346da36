"""Generator and discriminator of pix2pix in plain torch: layers, weights, and their file.

Not here: training them (``train``). Nothing here imports MLflow, DVC or Prefect.
"""
