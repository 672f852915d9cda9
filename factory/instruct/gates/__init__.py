"""What an answer must pass before it is trained on: each gate a step of its own that drops, with a reason."""
