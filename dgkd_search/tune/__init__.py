"""Ray and Tune: where trials are scheduled. Only ``runtime`` may be the first to import ray."""
