"""Adience: 19,370 faces in five folds by subject."""
