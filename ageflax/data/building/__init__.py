"""Builds datasets from archives, and finds built ones."""
