"""The only package that knows Ray: Tune schedules the trials of a study."""
