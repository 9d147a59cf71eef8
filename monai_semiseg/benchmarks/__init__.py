"""Timings and memory as ratios within one run: ``python -m monai_semiseg.benchmarks.NAME --output FOLDER``."""
