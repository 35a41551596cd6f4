"""Quality: metrics, reference points, evaluation sets and the report."""
