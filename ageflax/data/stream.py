"""Elements of training steps made ahead of their use by grain, in threads or worker processes."""

import dataclasses
import functools
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ageflax.runtime import quiet


@functools.cache
def _prepare_worker() -> None:
    """Quietens a worker process, and ends it once its parent is gone, even by kill -9.

    Grain's own workers would wait forever.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    quiet.process()

    def wait() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


@dataclasses.dataclass(frozen=True)
class _InWorker:
    """Makes elements in a worker process."""

    load_step: Callable[[int], Any]

    def __call__(self, step: int) -> Any:
        _prepare_worker()
        return self.load_step(step)


def stream(
    load_step: Callable[[int], Any], start: int, stop: int, *, workers: int, ahead: int = 4
) -> Iterator[Any]:
    """Yields the elements of steps start..stop-1 in order, made ahead of their use.

    Args:
      load_step: step number -> element; must pickle if `workers`.
      start: first step; a resumed run passes the step it resumes from and sees the same elements.
      stop: one past the last step.
      workers: number of processes; 0 uses threads of this process.
      ahead: elements made ahead, per worker or over all threads.
    """
    import grain
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # grain reads flags of its own, which must be parsed before

    if workers:
        load_step = _InWorker(load_step)
    steps = grain.MapDataset.range(start, stop).map(load_step)
    threads = 1 if workers else max(os.cpu_count() or 1, 2)
    elements = steps.to_iter_dataset(
        grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(ahead, threads))
    )
    if workers:
        elements = elements.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=ahead)
        )
    return iter(elements)
