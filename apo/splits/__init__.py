"""Which query is in which part, and the check that no model is evaluated on a query that trained it."""
