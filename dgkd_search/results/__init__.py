"""What comes out of a search: tables, figures, best.yaml, the page."""
