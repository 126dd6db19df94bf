"""Lowers JAX functions to ONNX graphs."""
