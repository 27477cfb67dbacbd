"""Trainings of reward models and language models."""
