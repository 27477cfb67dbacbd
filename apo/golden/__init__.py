"""Golden answers of the RM queries, from the source or from a model behind an endpoint."""
