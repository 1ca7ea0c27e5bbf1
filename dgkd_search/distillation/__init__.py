"""Training of one chain, stage by stage, with the store. No Ray, no Optuna."""
