"""pix2pix in plain torch: knows nothing of DVC, MLflow or Prefect, so it runs on any GPU box."""
