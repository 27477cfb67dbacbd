"""Records in the shapes of other tools: `python -m apo.export`."""
