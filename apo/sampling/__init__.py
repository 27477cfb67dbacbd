"""Sampling of responses from a language model."""
