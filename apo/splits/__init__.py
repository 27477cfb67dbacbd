"""Assigns each query to a part, and checks that no model is evaluated on a query that trained it."""
