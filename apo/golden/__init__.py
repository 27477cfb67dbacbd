"""Golden answers of the RM queries: the source's, or those of a model behind an endpoint."""
