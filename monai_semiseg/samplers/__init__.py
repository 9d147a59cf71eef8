"""Samplers and datasets that choose the case, the patch and their order."""
