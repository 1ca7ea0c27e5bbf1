"""Trained stages and teacher outputs on disk, by key, shared by any number of processes."""
