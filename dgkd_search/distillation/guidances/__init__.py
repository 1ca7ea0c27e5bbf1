"""Guidances, which assign teachers to the models of a chain: one class per module."""
