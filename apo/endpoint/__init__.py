"""A language model behind an OpenAI-compatible endpoint: the client, and the cache of its replies."""
