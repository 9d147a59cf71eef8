"""Cases are chosen for labelling, proposed, collected and reviewed."""
