"""Local learning rules for convolutions: no labels, no back-propagation."""
