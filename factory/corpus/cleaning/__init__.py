"""One document at a time made clean, or found not worth keeping."""
