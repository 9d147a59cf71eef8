"""Per-case metrics and their intervals."""
