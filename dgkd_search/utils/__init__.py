"""Files, hashes, intervals and words that know nothing of the subject."""
