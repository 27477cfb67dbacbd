"""How a language model learns from scored samples."""
