"""Files and data sets of others, in any format: records, and what was found wrong."""
