"""Model directories of sentence-transformers, transformers and peft."""
