"""The numbers of one evaluation, with their intervals."""
