"""Keeping files safe: whole or absent, one writer at a time."""
