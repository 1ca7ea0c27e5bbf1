"""A page of what a search found, in one file that needs no network."""
