"""Training of one model from its teachers: recipe, loss, trainer. No store, no chains."""
