"""Scans on disk -> checked cases; datalists, splits, plans."""
