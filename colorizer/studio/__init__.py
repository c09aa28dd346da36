"""The web studio: a page and an HTTP API that colour sketches with the models at hand."""
