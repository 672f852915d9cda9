"""Room: instruct."""
