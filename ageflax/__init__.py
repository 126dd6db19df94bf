"""Age and gender from a face, in JAX."""

__version__ = "0.1.0"
