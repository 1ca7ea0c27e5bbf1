"""One chain, trained stage by stage through the store; no Ray, no Optuna."""
