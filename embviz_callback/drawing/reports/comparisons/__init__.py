"""Reports on several models, runs or ways of ranking beside each other."""
