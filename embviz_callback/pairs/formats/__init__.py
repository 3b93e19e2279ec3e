"""Forms in which people keep pairs, and the one reader of them."""
