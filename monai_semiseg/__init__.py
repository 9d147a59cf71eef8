"""Label-efficient segmentation with MONAI: few labels, many scans.

Importing the package is cheap on purpose: torch and MONAI load only with the modules that need
them.
"""

__version__ = "0.1.0"
