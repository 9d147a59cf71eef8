"""What training needs around MONAI's trainers: checkpoints, progress, curves."""
