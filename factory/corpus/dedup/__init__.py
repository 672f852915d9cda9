"""What a corpus says twice, and what it must not say: near and exact duplicates, evaluation sets."""
