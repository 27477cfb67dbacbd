"""Resumable inference, shared among processes."""
