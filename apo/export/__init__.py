"""Records in the formats of other tools: `python -m apo.export`."""
