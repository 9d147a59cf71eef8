"""Stock MONAI networks and their weights."""
