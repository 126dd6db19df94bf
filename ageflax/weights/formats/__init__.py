"""Weights files of every kind, read into arrays and never executed."""
