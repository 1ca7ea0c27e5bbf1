"""Ray Tune schedules the trials of a study; no other package imports Ray."""
