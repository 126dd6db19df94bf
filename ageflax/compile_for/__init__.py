"""Compiles a recipe for accelerators that are not there, to learn its needs before renting one."""
