"""Files and data sets of others, in any shape: records, and what was found wrong."""
