"""Labeled faces: your own photographs, labelled by a CSV file, in five folds by subject."""
