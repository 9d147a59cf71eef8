"""Masks, previews and reports on disk."""
