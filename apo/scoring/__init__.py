"""Rewards of samples, behind the calibration gate."""
