"""Finds faults in the images and subjects of a dataset."""
