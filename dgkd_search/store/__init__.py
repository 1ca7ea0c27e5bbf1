"""Trained stages and teacher outputs on disk, by key; any number of processes may share a store."""
