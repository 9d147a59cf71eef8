"""Open, check and run MONAI bundles."""
