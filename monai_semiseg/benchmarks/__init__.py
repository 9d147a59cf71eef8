"""Benchmarks of time and memory, as ratios within one run.

Each is run by ``python -m monai_semiseg.benchmarks.NAME --output FOLDER``.
"""
