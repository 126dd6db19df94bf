"""Layers of the trunks."""
