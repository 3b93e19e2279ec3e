"""Forms that keep queries, documents and judgements apart, joined by identifiers."""
