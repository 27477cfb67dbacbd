"""Dialogues, and what is found in texts."""
