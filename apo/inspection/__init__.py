"""Reports the contents of a file of preference data: `python -m apo.inspection`."""
