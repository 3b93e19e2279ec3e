"""Alerts: the rule, and the people who are told."""
