"""An external language model as a judge: prompts, the client, the cache of its replies, verdicts."""
