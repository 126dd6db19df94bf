"""Converts published weights into bundles: python -m ageflax.import_weights."""
