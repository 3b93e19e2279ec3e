"""What RESULTS.md says, and the command behind each of its figures."""
