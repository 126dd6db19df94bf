"""The two ways a command ends badly, and what of a file their messages show."""

_LONGEST = 600  # characters of somebody's text in one line


class _ToldError(Exception):
    """One with a message for a terminal, which obeys control characters: those become spaces.

    Messages name files and what is in them, and both may be anybody's.
    """

    def __init__(self, message: str):
        super().__init__("".join(c if c.isprintable() or c == "\n" else " " for c in message))


class InputError(_ToldError):
    """What the user gave cannot be used: a config, a file, a folder. Exit code 2.

    The message is one line (a few at most) that says what is wrong, where, and what to do.
    """


class RunError(_ToldError):
    """The input was fine, the run failed: a loss that is not finite, a full disk. Exit code 1."""


def one_line(text: str, longest: int = _LONGEST) -> str:
    """A text from a file that may be anybody's, fit for a terminal: printable, one line, cut."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words if len(words) <= longest else f"{words[: longest - 3]}..."


def shown(value: object, longest: int = 200) -> str:
    """A value that may be anybody's as a message shows it: as in Python, one line, cut."""
    return one_line(repr(value), longest)
