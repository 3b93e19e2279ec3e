"""Numbers and maps from embeddings; numpy, scikit-learn and umap, never torch."""
