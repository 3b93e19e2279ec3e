"""TensorBoard's own plugins."""
