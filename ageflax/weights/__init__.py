"""Weights that somebody else trained, or an earlier run of ours, as the start of a new one."""
