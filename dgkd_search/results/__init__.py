"""What a search found: tables, figures, the best configuration, exported models."""
