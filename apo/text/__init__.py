"""Dialogues, seeded subsets of queries, and issues in data."""
