"""Figures and reports: pure functions of snapshots."""
