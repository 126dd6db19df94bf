"""Picture of the README."""
