"""Room: corpus."""
