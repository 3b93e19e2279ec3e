"""The demo: invented rental pairs and a small training on them; it uses the callback as anybody does."""
