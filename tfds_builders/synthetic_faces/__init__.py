"""Drawn faces in five person-exclusive folds: the embedded data set."""
