"""The commands' workflows: search, resume, retrain, compare, export, reproduce, doctor."""
