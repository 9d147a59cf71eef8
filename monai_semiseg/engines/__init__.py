"""Trainers: one for each method."""
