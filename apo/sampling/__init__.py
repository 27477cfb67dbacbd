"""What a language model answers."""
