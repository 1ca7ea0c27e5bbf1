"""Whole jobs: search, resume, retrain, compare, export, reproduce, doctor."""
