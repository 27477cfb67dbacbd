"""Adversarial Preference Optimization (Cheng et al., 2024, arXiv 2311.08045) as a library.

Axis names in signatures: `item` a query with all its responses; `resp` the responses of an item;
`pair` ordered pairs (better, worse); `seq` sequences of a batch; `tok` tokens of a sequence;
`row` samples that are being drawn; `head`, `kvhead`, `dim` attention's heads and their width;
`label` tokens whose probability is asked for; `hidden` the width of the model; `bin` the bins of a
calibration curve. Masks are boolean and True counts.
"""
