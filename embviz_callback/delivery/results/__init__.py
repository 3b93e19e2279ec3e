"""What evaluations and comparisons leave in a folder, for people and for other programs."""
