"""A language model from outside compares answers."""
