"""From a user's words to the configuration of a study."""
