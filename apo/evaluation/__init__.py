"""Evaluation of reward models and language models."""
