"""Arrays in, a Figure out."""
