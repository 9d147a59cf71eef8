"""Segmentation of folders of scans with one bundle."""
