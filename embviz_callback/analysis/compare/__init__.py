"""Several evaluations of one subset beside each other."""
