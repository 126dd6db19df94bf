"""The two ways a command ends badly, and what of a file their messages show."""

_LONGEST = 600  # characters of somebody's text in one line


class InputError(Exception):
    """What the user gave cannot be used: a config, a file, a folder. Exit code 2.

    The message is one line (a few at most) that says what is wrong, where, and what to do.
    """


class RunError(Exception):
    """The input was fine, the run failed: a loss that is not finite, a full disk. Exit code 1."""


def one_line(text: str, longest: int = _LONGEST) -> str:
    """A text from a file that may be anybody's, fit for a terminal: printable, one line, cut."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words if len(words) <= longest else f"{words[: longest - 3]}..."
