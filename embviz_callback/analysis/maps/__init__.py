"""Maps of the embeddings on a plane."""
