"""Processes, files, devices and commands; nothing of faces."""
