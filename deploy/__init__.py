"""A team's stack: compose.yaml, Kubernetes manifests, and the same processes without containers."""
