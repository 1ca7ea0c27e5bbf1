"""Who watches a search: terminal, notebook, JSON lines, experiment trackers."""
