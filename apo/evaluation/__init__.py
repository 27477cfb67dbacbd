"""Rewards of what is written, and how good models are."""
