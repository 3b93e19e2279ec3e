"""Values in, markdown out."""
