"""A grid of methods, initialisations, label budgets and seeds over one dataset, and what it says."""
