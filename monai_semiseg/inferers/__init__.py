"""From a network to the probabilities of one image."""
