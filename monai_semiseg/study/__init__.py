"""Compare methods and label budgets on a user's own data."""
