"""Somebody else's weights as a bundle of ours: python -m ageflax.import_weights."""
