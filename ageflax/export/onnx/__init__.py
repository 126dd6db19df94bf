"""From a jaxpr to an ONNX graph."""
