"""The process that draws, seen from both sides."""
