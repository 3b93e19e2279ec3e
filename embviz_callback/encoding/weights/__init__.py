"""Files of weights, read without running anything that is in them."""
