"""Words, n-grams and overlap of text in any script."""
