"""Finders of faces."""
