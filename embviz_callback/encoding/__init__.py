"""The only floor that touches a model: encoding, isolation, checkpoints."""
