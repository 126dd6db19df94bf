"""Exports a bundle to ONNX or StableHLO and verifies that the file answers as JAX does."""
