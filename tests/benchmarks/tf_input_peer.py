"""The peer of `tests.benchmarks.input` in tf.data: told and answering as torch_input_peer.py is.

Runs on a Python of its own that has tensorflow.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf  # pyright: ignore[reportMissingImports]  not a dependency of the project


def _dataset(given: dict[str, Any]) -> Any:
    """Batches of float32 crops, from JPEG bytes in memory."""
    paths = sorted(Path(given["folder"]).glob("*.jpg"))
    contents = [path.read_bytes() for path in paths] * given["repeats"]
    size, crop = given["size"], given["crop"]

    def face(content: Any) -> Any:
        # The accurate inverse transform, which all the others use too.
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


def _main() -> None:
    dataset = None
    for line in sys.stdin:
        told = json.loads(line)
        try:
            if "open" in told:
                dataset = _dataset(told["open"])
                for _ in dataset:
                    pass
                answer: dict[str, Any] = {"tensorflow": tf.__version__}
            else:
                assert dataset is not None
                seconds = []
                for _ in range(told["time"]):
                    started = time.perf_counter()
                    for _ in dataset:
                        pass
                    seconds.append(time.perf_counter() - started)
                answer = {"seconds": seconds}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _main()
