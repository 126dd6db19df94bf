"""Labeled faces: one's own photographs, labelled by a CSV file, in five folds by person."""
