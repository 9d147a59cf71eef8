"""Which case, which patch, in which order."""
