"""Honest per-case metrics and their intervals."""
