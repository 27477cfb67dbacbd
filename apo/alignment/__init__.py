"""Alignment of language models with scored samples."""
