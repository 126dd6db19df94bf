"""Processes, files, devices and command lines; nothing here knows about faces."""
