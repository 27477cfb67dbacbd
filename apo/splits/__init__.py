"""Which query goes where, and the proof that nothing is measured on what trained it."""
