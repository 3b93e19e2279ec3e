"""Modules that turn texts into vectors."""
