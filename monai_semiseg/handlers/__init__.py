"""Ignite handlers: checkpoints, progress, precision, diagnostics."""
