"""Runs from command-line arguments, and the folder of each run."""
