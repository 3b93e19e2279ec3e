"""From a checkpoint of any usual form to a model, and out again."""
