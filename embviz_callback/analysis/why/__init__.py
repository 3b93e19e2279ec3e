"""Why queries fail: groups, errors, features, thresholds, suspects."""
