"""Documents cut, drawn, ordered and mixed into a training set."""
