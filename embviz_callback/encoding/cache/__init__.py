"""A frozen encoder's features, computed once."""
