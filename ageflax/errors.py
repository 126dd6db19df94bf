"""The two errors that end a command, and text from files made safe for their messages."""

_LONGEST = 600  # characters of untrusted text in one line


class _PrintableError(Exception):
    """An error whose message is safe on a terminal: control characters become spaces.

    Messages quote file names and file contents, which may come from anyone.
    """

    def __init__(self, message: str):
        super().__init__("".join(c if c.isprintable() or c == "\n" else " " for c in message))


class InputError(_PrintableError):
    """Unusable input from the user: a config, a file, a folder. Exit code 2.

    The message is one line (a few at most) that says what is wrong, where, and what to do.
    """


class RunError(_PrintableError):
    """A failed run on valid input: a loss that is not finite, a full disk. Exit code 1."""


def first_line(error: BaseException) -> str:
    """First line of an exception's message; its type's name if the message is empty."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def one_line(text: str, longest: int = _LONGEST) -> str:
    """Untrusted text made fit for a terminal: printable, on one line, cut to `longest` characters."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words if len(words) <= longest else f"{words[: longest - 3]}..."


def shown(value: object, longest: int = 200) -> str:
    """An untrusted value's repr on one line, cut to `longest` characters."""
    return one_line(repr(value), longest)
