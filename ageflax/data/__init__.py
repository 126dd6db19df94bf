"""Datasets of labelled faces: reading, splitting, placing and augmenting them."""
