"""Loads weights of other projects or of an earlier run, as the start of a new one."""
