"""Matches tensors of other projects with our layers, by name or by graph."""
