"""A file becomes one image or label, with its grid and what is odd about it."""
