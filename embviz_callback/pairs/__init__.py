"""Pairs: reading them from a file, merging equivalent texts, choosing the fixed subset."""
