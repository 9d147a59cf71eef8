"""Dictionary transforms that MONAI does not have."""
