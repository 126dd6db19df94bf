"""Compiles a recipe for absent accelerators, to learn its needs before renting one."""
