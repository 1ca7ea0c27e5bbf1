"""The Optuna study of chains: space, sampler, pruner, replicates."""
