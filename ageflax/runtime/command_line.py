"""How every command of ageflax ends: one line and an exit code, never a traceback for bad input."""

import sys
from collections.abc import Callable

from ageflax.errors import InputError, RunError
from ageflax.runtime import preemption

# What to do without a model, in two lines.
NO_MODEL = """\
--model=MODEL is needed; python -m ageflax.main --config=configs/quickstart.py makes one of drawn faces,
runs/quickstart/fold_0. For a good one train configs/faces_age.py on photographs: see README.md"""

INPUT, FAILED, INTERRUPTED, PREEMPTED = 2, 1, 130, preemption.EXIT_CODE


def run(name: str, command: Callable[[], None], *, interrupted: str = "interrupted") -> int:
    """Runs a command and turns what it raises into its exit code.

    Args:
      name: stands before every message.
      command: what to run.
      interrupted: said upon Ctrl-C.

    Returns:
      0; 2 for bad input or configuration; 1 for a failed run; 130 for Ctrl-C; 143 for SIGTERM, of
      commands that listen to it.
    """
    try:
        command()
    except InputError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return INPUT
    except RunError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return FAILED
    except OSError as error:  # a full disk, a share that went away
        at = f"{error.filename}: {error.strerror}" if error.filename else error
        print(f"{name}: {at}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print(f"{name}: {interrupted}", file=sys.stderr)
        return INTERRUPTED
    except preemption.Preempted:
        print(f"{name}: told to stop; the same command goes on", file=sys.stderr)
        return PREEMPTED
    return 0
