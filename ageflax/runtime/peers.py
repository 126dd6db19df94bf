"""Communication between the processes of one run: heartbeats, and agreement on the step to stop at."""

import os
import signal
import sys
import threading
import time
from typing import Any

import jax

from ageflax.errors import first_line
from ageflax.runtime import preemption

# Seconds of silence after which a process counts as gone, and the others end.
LOST_AFTER = 60
_TICK = 0.5


def client() -> Any:
    """The client of jax.distributed's key-value store; None in a process that works alone."""
    # There is no public way to the store.
    from jax._src import distributed

    return distributed.global_state.client


def end_now(reason: str) -> None:
    """Prints one line and ends this process, whatever its main thread is waiting for."""
    code = preemption.EXIT_CODE if preemption.asked() else 1
    print(
        f"ageflax: {reason}; process {jax.process_index()} ends too. The same command resumes from the"
        " last checkpoint",
        file=sys.stderr,
        flush=True,
    )
    os._exit(code)


class Peers:
    """A thread that listens to the other processes of the run.

    A process that receives SIGTERM tells the others, whose own handlers then receive it. During training
    they agree on the step to save at. This is the protocol of JAX's reached_preemption_sync_point, which
    cannot be used itself because it takes SIGTERM away from Python everywhere in the process.
    """

    def __init__(self):
        self._client = client()
        self._number, self._count = jax.process_index(), jax.process_count()
        self._lock = threading.Lock()
        self._passed, self._stop_at = 0, None
        self._beats = {k: ("", time.monotonic()) for k in range(self._count) if k != self._number}
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="peers", daemon=True)
        self._thread.start()

    def passed(self) -> bool:
        """Counts a point that every process passes; True from the agreed stopping point on."""
        with self._lock:
            self._passed += 1
            return self._stop_at is not None and self._passed >= self._stop_at

    def leave(self) -> None:
        """Stops listening."""
        self._left.set()
        self._thread.join()

    def _listen(self) -> None:
        beat, told = 0, False
        while not self._left.wait(_TICK):
            try:
                beat += 1
                self._client.key_value_set(f"ageflax/beat/{self._number}", str(beat), True)
                self._check(dict(self._client.key_value_dir_get("ageflax/beat")))
                if told or not (
                    preemption.asked() or self._client.key_value_dir_get("ageflax/stop")
                ):
                    continue
                told = True
                if preemption.asked():
                    self._client.key_value_set("ageflax/stop/told", str(self._number), True)
                else:
                    os.kill(os.getpid(), signal.SIGTERM)
                # At once, before the main thread has handled the signal: it may be waiting for a process
                # that already has, and that process waits for this one's count.
                self._agree()
            except jax.errors.JaxRuntimeError as error:
                if not self._left.is_set():
                    end_now(f"the other processes do not answer ({first_line(error)[:160]})")

    def _check(self, beats: dict[str, str]) -> None:
        """Ends this process if another one has been silent for too long."""
        now = time.monotonic()
        for number, (last, since) in self._beats.items():
            beat = beats.get(f"ageflax/beat/{number}", "")
            if beat != last:
                self._beats[number] = (beat, now)
            elif now - since > LOST_AFTER:
                end_now(f"process {number} has been silent for {LOST_AFTER} seconds")

    def _agree(self) -> None:
        """Sets the stopping point; the lock holds the main thread at its next step meanwhile."""
        with self._lock:
            self._client.key_value_set(f"ageflax/passed/{self._number}", str(self._passed), True)
            counts = [
                int(self._client.blocking_key_value_get(f"ageflax/passed/{k}", 20_000))
                for k in range(self._count)
            ]
            self._stop_at = max(counts) + 1
