"""Small files that are there whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """A JSON file's content, or None where it is absent, cut short or no JSON."""
    try:
        return json.loads(path.read_text())
    # No text, no JSON, brackets without end.
    except (FileNotFoundError, ValueError, RecursionError):
        return None


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file so that it is there whole or not at all.

    Several processes may write it at once, as folds of one run do: the last one's content stays.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.partial")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    temporary.replace(path)
