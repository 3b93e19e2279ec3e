"""Every cosine between queries and documents, seen once."""
