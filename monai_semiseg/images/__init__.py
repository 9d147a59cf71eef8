"""Readers that turn a file into one image or label, with its grid and its warnings."""
