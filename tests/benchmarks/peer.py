"""A script in another Python, such as one with PyTorch, asked in lines of JSON and idle in between."""

import json
import subprocess
from pathlib import Path
from typing import Any

from ageflax.errors import RunError


class Peer:
    """A process that stays open from turn to turn.

    Args:
      python: interpreter with the packages that the script imports.
      script: program that answers each line of JSON with one; on failure {"error": one line}.
      opened: content of the first line, under "open".

    Raises:
      RunError: the script cannot be started, or its first answer is an error.
    """

    def __init__(self, python: str, script: Path, **opened: Any):
        self._name = script.name
        try:
            self._process = subprocess.Popen(
                [python, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        except OSError as error:
            raise RunError(f"{python}: {error.strerror}") from error
        try:
            self.opened = self.ask({"open": opened})
        except RunError:
            self.close()
            raise

    def ask(self, told: dict[str, Any]) -> dict[str, Any]:
        """Sends one line and reads one back.

        Raises:
          RunError: the process ended, or answers an error.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(told) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        answer = json.loads(line) if line else {"error": "the process ended"}
        if "error" in answer:
            raise RunError(f"{self._name}: {answer['error']}")
        return answer

    def seconds(self, count: int) -> list[float]:
        """Seconds of each of `count` steps."""
        return self.ask({"time": count})["seconds"]

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()  # which closes the pipes too
