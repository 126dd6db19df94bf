"""Drawn faces in five folds by subject: the embedded dataset."""
