"""Callbacks that watch a search: terminal, notebook, JSON lines, experiment trackers."""
