"""Trains for a long time with a checkpoint at every other step, and checks that nothing grows.

    python -m tests.soak.training --minutes=60 [--config.data.placement=stream ...]

One fold of drawn faces that spends most of its time on validations and checkpoints: thousands are saved and
rotated. SIGTERM ends it, as any run. Exit code 1 if memory, open files, threads or the checkpoints' folder
are not flat after the warm-up.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from ageflax import config as configuration
from ageflax.errors import RunError
from ageflax.runtime import command_line, preemption, quiet
from ageflax.training import checkpoints as saving
from ageflax.training import cross_validation
from tests.conftest import small_values
from tests.soak import flat


def _saved(checkpoints: Path) -> int:
    """Latest step on disk."""
    found = [int(path.name) for path in checkpoints.glob("*") if path.name.isdigit()]
    return max(found, default=0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument(
        "--allowed", type=float, default=flat.ALLOWED, help="allowed growth, a share"
    )
    options, overrides = parser.parse_known_args(arguments)
    quiet.process()
    command_line.collect_rarely()
    saving.skip_byte_counts()
    seconds = 60 * options.minutes
    samples: list[flat.Sample] = []
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        words = ["fold=0", "steps=200000", "eval.every=2", "eval.log_every=2"]
        config = configuration.resolve(
            small_values(Path(folder) / "datasets"),
            [*(f"--config.{word}" for word in words), *overrides],
        )
        checkpoints = Path(folder) / "run" / "fold_0" / "checkpoints"

        def seen(sample: flat.Sample) -> None:
            # From the first checkpoint on; start-up is no soak.
            if sample.done and not samples:
                end.start()
            if sample.done:
                samples.append(sample)

        # metrics.jsonl and TensorBoard's events do grow, by a line per validation.
        watched = flat.watched(
            lambda: _saved(checkpoints),
            checkpoints,
            every=max(seconds / 400, 0.2),
            sample=seen,
        )
        end = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM))
        end.daemon = True
        try:
            with preemption.listening(), watched:
                cross_validation.run(config, Path(folder) / "run", say=print)
        except preemption.Preempted:
            pass
        except RunError as error:  # report the samples so far all the same
            print(error)
            failed = True
        finally:
            end.cancel()
    print(f"{samples[-1].done // 2 if samples else 0} checkpoints saved")
    return max(flat.report(samples, allowed=options.allowed), int(failed))


if __name__ == "__main__":
    # On a busy machine a step takes longer; ended within one, there would be no report.
    preemption.PATIENCE = 600.0
    sys.exit(main())
