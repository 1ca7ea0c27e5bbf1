"""The results of a search: run folder, tables, figures, best.yaml, the report page."""
