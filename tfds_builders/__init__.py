"""TensorFlow Datasets builders: each a folder that `tfds build` takes as it is."""
