"""What to begin with: three trainings, and columns that are read from the texts of one trade."""
