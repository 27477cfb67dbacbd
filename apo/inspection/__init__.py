"""What is in a file of preference data: `python -m apo.inspection`."""
