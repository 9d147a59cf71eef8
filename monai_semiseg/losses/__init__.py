"""Losses on scans without labels: consistency, pseudo-labels, uncertainty, shape."""
