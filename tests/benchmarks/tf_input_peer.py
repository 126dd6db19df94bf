"""The peer of `tests.benchmarks.input` in tf.data, with the same protocol as torch_input_peer.py.

Runs in a separate Python with tensorflow.
"""

import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # pyright: ignore[reportMissingImports]  not a dependency of the project
from peer_lines import Seconds, serve  # pyright: ignore[reportMissingImports]  beside this script


def _dataset(given: dict[str, Any]) -> Any:
    """Batches of float32 crops, from JPEG bytes in memory."""
    paths = sorted(Path(given["folder"]).glob("*.jpg"))
    contents = [path.read_bytes() for path in paths] * given["repeats"]
    size, crop = given["size"], given["crop"]

    def face(content: Any) -> Any:
        # The accurate inverse transform, as in all the others.
        image = tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE")
        image = tf.image.resize(image, (size, size))
        image = tf.image.random_crop(image, (crop, crop, 3))
        return tf.image.random_flip_left_right(image) / 127.5 - 1.0

    parallel = given["workers"] or 1
    dataset = tf.data.Dataset.from_tensor_slices(contents).shuffle(len(contents))
    options = tf.data.Options()
    options.threading.private_threadpool_size = parallel
    dataset = dataset.map(face, num_parallel_calls=parallel).batch(given["batch"])
    return dataset.prefetch(2 if given["workers"] else 0).with_options(options)


def _opened(**given: Any) -> Seconds:
    dataset = _dataset(given)

    def once() -> float:
        started = time.perf_counter()
        for _ in dataset:
            pass
        return time.perf_counter() - started

    once()
    return lambda count: [once() for _ in range(count)]


if __name__ == "__main__":
    serve(_opened, tensorflow=tf.__version__)
