"""Adience: 19,370 faces in five folds, no person in two."""
