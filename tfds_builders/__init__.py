"""TensorFlow Datasets builders, each in a folder for `tfds build`."""
