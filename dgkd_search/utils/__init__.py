"""Helpers that are independent of distillation: files, hashes, intervals, formatting."""
