"""Reads one hostile input and judges the outcome."""

import random
import shutil
from pathlib import Path

from tests.hostile import guard
from tests.hostile.kinds import Case
from tests.hostile.mutate import mutated

# Limits of a message.
_LONGEST, _MOST_LINES = 2000, 6


class Fault(Exception):  # noqa: N818
    """A forbidden outcome of a reader."""


def place(error: BaseException) -> str:
    """Last line of the project in the traceback, which identifies the fault."""
    found, trace = "", error.__traceback__
    while trace is not None:
        path = Path(trace.tb_frame.f_code.co_filename)
        if any(path.is_relative_to(guard.ROOT / part) for part in ("ageflax", "tfds_builders")):
            found = f"{path.relative_to(guard.ROOT)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def _judge(message: str, refusal: BaseException) -> None:
    if not message.strip():
        raise Fault(f"{place(refusal)}: {type(refusal).__name__} without a message")
    if len(message) > _LONGEST or len(message.splitlines()) > _MOST_LINES:
        raise Fault(f"{place(refusal)}: a message of {len(message)} characters")
    if any(c != "\n" and not c.isprintable() and c < "\xa0" for c in message):
        raise Fault(f"{place(refusal)}: a message with control characters: {message[:200]!r}")


def attempt(case: Case, content: bytes, folder: Path) -> str:
    """Reads an input under watch.

    Returns:
      The refusal, "" if the input was read.

    Raises:
      Fault: neither read nor refused with a proper message.
    """
    refused: BaseException | None = None
    try:
        with guard.watched(folder):
            try:
                case.read(content)
            except case.refusals as error:
                refused = error
    except guard.Breach as error:
        raise Fault(f"{place(error)}: out of its folder: {error}") from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        name = f"{type(error).__module__}.{type(error).__name__}".removeprefix("builtins.")
        raise Fault(f"{place(error)}: {name}: {str(error)[:300]}") from error
    if (folder.parent / "ran").exists():
        raise Fault("code of the input was run")
    if refused is not None:
        _judge(str(refused), refused)
    return str(refused or "")


def check_seeds(case: Case, folder: Path) -> None:
    """Checks that good files are read and bad ones do no harm; imports the reader on the way."""
    guard.secret(folder)
    for seed in case.seeds:
        case.read(seed)
    for content in case.hostile:
        attempt(case, content, folder)


def inputs_of(rng: random.Random, case: Case) -> bytes:
    """A new input."""
    return mutated(
        rng, [*case.seeds, *case.seeds, *case.hostile[:40]] if rng.random() < 0.2 else case.seeds
    )


def emptied(folder: Path, keep: set[Path]) -> None:
    """Removes files left by inputs: annotated copies, checkpoints set aside."""
    for path in set(folder.iterdir()) - keep:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
