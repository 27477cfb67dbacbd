"""Reads external files and data sets in any format: their records and their data issues."""
