"""Options: parsing, defaults, and the configuration of a study that follows from them."""
