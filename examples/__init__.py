"""What to begin with: four trainings, and columns that are read from the texts of one trade."""
