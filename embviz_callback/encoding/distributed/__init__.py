"""Encoding where several ranks train."""
