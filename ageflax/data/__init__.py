"""Reads, washes, splits and batches datasets of labelled faces."""
