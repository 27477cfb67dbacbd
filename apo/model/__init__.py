"""Text to ids, items to micro-batches, hidden states to rewards; checkpoints in and out."""
