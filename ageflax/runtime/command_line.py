"""The frame of every command: its parser, and its exit code instead of a traceback."""

import argparse
import atexit
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from ageflax.errors import InputError, RunError
from ageflax.runtime import environment, files, preemption, quiet

INPUT, FAILED, INTERRUPTED, PREEMPTED = 2, 1, 130, preemption.EXIT_CODE

# Words of this process's command if it is not `python -m MODULE`, such as "ageflax train".
_entry: list[str] = []


def entered_as(words: str) -> None:
    """Makes usage lines name the command by these words."""
    _entry[:] = [words]


class Parser(argparse.ArgumentParser):
    """An argument parser that also takes each option `--some_name` as `--some-name`.

    Config keys (`--config.KEY=VALUE`), values and paths are never changed.
    """

    def __init__(self, *, late_epilog: Callable[[], str] | None = None, **settings: Any):
        super().__init__(**settings)
        self._late_epilog = late_epilog

    def format_help(self) -> str:
        """Formats the help; only then is a late epilog built."""
        if self._late_epilog is not None:
            self.epilog = self._late_epilog()
        return super().format_help()

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride]  - it has overloads
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        """Parses the words, with hyphens in option names turned into underscores."""
        words = sys.argv[1:] if args is None else list(args)
        end = words.index("--") if "--" in words else len(words)  # paths alone follow
        words[:end] = map(self._underscored, words[:end])
        return super().parse_known_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """Ends the command with one line and exit code 2."""
        name = self.prog.removeprefix("python -m ")
        self.exit(INPUT, f"{name}: {message}; --help lists the options\n")

    def _underscored(self, word: str) -> str:
        name, equals, value = word.partition("=")
        ours = "--" + name[2:].replace("-", "_")
        known = name.startswith("--") and ours in self._option_string_actions
        return f"{ours}{equals}{value}" if known else word


def parser(name: str, doc: str | None, epilog: str | Callable[[], str] | None = None) -> Parser:
    """Makes a command's parser.

    Args:
      name: module that `python -m` runs.
      doc: description, the module's docstring.
      epilog: text after the options, or a function that builds it when help is asked for.
    """
    return Parser(
        prog=_entry[0] if _entry else f"python -m {name}",
        description=doc,
        epilog=None if callable(epilog) else epilog,
        late_epilog=epilog if callable(epilog) else None,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )


def whole_number(low: int, high: int) -> Callable[[str], int]:
    """Makes an argparse type: a whole number from `low` to `high`."""

    def number(text: str) -> int:
        if not (text.isascii() and text.isdecimal() and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(f"{text}: expected a whole number, {low} to {high}")
        return int(text)

    return number


def whole_numbers(low: int, high: int) -> Callable[[str], tuple[int, ...]]:
    """Makes an argparse type: whole numbers from `low` to `high`, divided by commas."""
    number = whole_number(low, high)
    return lambda text: tuple(map(number, text.split(",")))


def share(text: str) -> float:
    """Argparse type: a number from 0 to less than 1."""
    value = float(text)
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"{text}: expected 0 or more, and less than 1")
    return value


def name_or_path(text: str) -> str:
    """Argparse type: a path with "~" expanded, or a name that is left as it is; no gs:// or the like."""
    try:
        return files.local(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def path(text: str) -> Path:
    """Argparse type: a path on this machine, "~" expanded."""
    return Path(name_or_path(text))


def collect_rarely() -> None:
    """Spares a process most garbage collections, which take a second of a command's start and end.

    What imports made stays: Python would look through it again and again, and as it ends take every
    module and class apart.
    """
    gc.set_threshold(20_000, 10, 10)
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


def run(name: str, command: Callable[[], None], *, interrupted: str = "interrupted") -> int:
    """Runs a command and turns the errors that it raises into a line and an exit code.

    Args:
      name: prefix of every message.
      command: function to run.
      interrupted: message upon Ctrl-C.

    Returns:
      0; 2 for bad input, configuration or environment; 1 for a failed run; 130 for Ctrl-C; 143 for
      SIGTERM or SIGHUP, in commands that listen to them.
    """
    quiet.process()
    collect_rarely()
    try:
        command()
        sys.stdout.flush()
        return 0
    except InputError as error:
        line, code = str(error), INPUT
    except OSError as error:  # a full disk, a share that went away
        line, code = _of_disk(error), FAILED
    except KeyboardInterrupt:
        line, code = interrupted, INTERRUPTED
    except preemption.Preempted as stopped:
        line, code = f"stopped by {stopped}; the same command resumes", PREEMPTED
    except Exception as error:
        fault = environment.fault(error)
        if fault is None and not isinstance(error, RunError):
            raise
        line, code = (str(error), FAILED) if fault is None else (fault, INPUT)
    print(f"{name}: {line}", file=sys.stderr)
    return code


def _of_disk(error: OSError) -> str:
    """The message of a failed read or write: its path and the system's words."""
    if error.filename:
        return f"{error.filename}: {error.strerror}"
    try:
        sys.stdout.flush()
    except OSError:
        # Python would try again at its end, and print a traceback.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return f"standard output: {error.strerror}"
    return str(error)
