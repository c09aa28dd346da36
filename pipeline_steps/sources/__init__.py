"""Where pairs come from: one module a source, each leaving one zip that prepare reads."""
