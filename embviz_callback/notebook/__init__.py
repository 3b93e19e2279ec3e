"""Face 5: evaluations and comparisons in a notebook, drawn when they are asked for."""
