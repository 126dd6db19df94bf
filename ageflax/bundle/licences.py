"""Terms of a model's training data, which bind the users of its weights."""

import functools
import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ageflax.bundle.description import Description
from ageflax.errors import one_line

_LOGGER = logging.getLogger("ageflax")
# Beginnings of free licences, and their identifiers on the Hugging Face hub.
_FREE = (
    (r"apache[ -]?(licen[cs]e,? )?(version )?2", "apache-2.0"),
    (r"mit\b", "mit"),
    (r"bsd[ -]?3", "bsd-3-clause"),
    (r"bsd[ -]?2", "bsd-2-clause"),
    (r"cc[ -]?0", "cc0-1.0"),
    (r"cc[ -]by[ -]sa[ -]4", "cc-by-sa-4.0"),
    (r"cc[ -]by[ -]4", "cc-by-4.0"),
)
_BOUND = r"non[- ]?commercial|\bnc\b|research (purposes |use )?(only|alone)|research is"


def identifier(licence: object) -> str:
    """The hub's identifier of a licence: "unknown" if none is stated, "other" for special terms."""
    if not isinstance(licence, str) or not licence.strip():
        return "unknown"
    text = licence.strip().lower()
    if not re.search(_BOUND, text):
        for pattern, name in _FREE:
            if re.match(pattern, text):
                return name
    return "other"


def _terms(whose: object, of: str, licence: object) -> str | None:
    if identifier(licence) != "other":
        return None
    named = f" {one_line(whose, 100)}" if isinstance(whose, str) and whose else ""
    return f"{of}{named}, under terms that bind them too: {one_line(str(licence))}"


def notice(data: Mapping[str, Any], source: Mapping[str, Any]) -> str | None:
    """Terms of a model's data, of its initial weights and of its teachers; None if they are free.

    Terms are quoted, not interpreted: anything but a well-known free licence may bind.

    Args:
      data: object `data` of a bundle's description.
      source: object `source` of the description.
    """
    weights = source.get("weights")
    weights = weights if isinstance(weights, dict) else {}
    teachers = source.get("teachers")
    taught = (
        [each for each in teachers if isinstance(each, dict)] if isinstance(teachers, list) else []
    )
    stated = (
        _terms(data.get("name"), "weights trained on", data.get("licence")),
        _terms(weights.get("source"), "training started from", weights.get("licence")),
        *(_terms(each.get("source"), "taught by", each.get("licence")) for each in taught),
    )
    return "; ".join(dict.fromkeys(line for line in stated if line)) or None


def tell(descriptions: Iterable[Description]) -> None:
    """Logs each distinct notice of some models once, as a warning of the logger "ageflax"."""
    for line in dict.fromkeys(notice(each.data, each.source) for each in descriptions):
        if line:
            _LOGGER.warning("%s", line)


@functools.cache
def _tell_once(line: str) -> None:
    _LOGGER.warning("%s", line)


def tell_default(description: Description, terms: Path) -> None:
    """Logs the terms of the default model, at its first use in the process.

    Args:
      description: description of the model.
      terms: file of the terms.
    """
    stated = one_line(str(description.data.get("licence") or "terms not stated")).rstrip(".")
    _tell_once(f"default model: {stated}; terms: {terms}")
