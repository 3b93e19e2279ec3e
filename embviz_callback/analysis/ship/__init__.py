"""What a model is worth once it is shipped: cut, quantised, beside another model, beside words alone."""
