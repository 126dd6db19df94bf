"""The two ways a command ends badly, each with its exit code."""


class InputError(Exception):
    """What the user gave cannot be used: a config, a file, a folder. Exit code 2.

    The message is one line (a few at most) that says what is wrong, where, and what to do.
    """


class RunError(Exception):
    """The input was fine, the run failed: a loss that is not finite, a full disk. Exit code 1."""
