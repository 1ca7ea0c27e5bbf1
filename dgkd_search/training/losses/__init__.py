"""Distillation losses: one class per module."""
