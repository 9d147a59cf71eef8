"""Whole folders of scans through one bundle."""
