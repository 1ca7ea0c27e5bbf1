"""The report page of a search: one HTML file that needs no network."""
