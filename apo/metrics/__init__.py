"""Metrics of rewards: pure functions of numbers."""
