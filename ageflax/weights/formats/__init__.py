"""Reads weights files of all formats into arrays; never executes them."""
