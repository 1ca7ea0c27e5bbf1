"""One model trained from its teachers: recipe, loss, trainer; no store, no chain."""
