"""The data check: what is wrong or odd in a file of pairs."""
