"""Small files that are there whole or not at all."""

import json
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """A JSON file's content, or None where it is absent or cut short."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def write_json(path: Path, content: Any) -> None:
    """Writes a JSON file so that it is there whole or not at all."""
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(json.dumps(content, indent=2) + "\n")
    temporary.replace(path)
