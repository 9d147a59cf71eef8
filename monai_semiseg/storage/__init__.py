"""Safe file storage: files are complete or absent, with one writer at a time."""
