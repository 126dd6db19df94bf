"""Subjects of IMDB-WIKI."""

import unicodedata
from collections.abc import Iterable

from tfds_builders.subjects import Groups

from .metadata import Metadata


def normalise(name: str) -> str:
    """A name without accents, case, punctuation and spaces, which differ between spellings.

    Two people of one name become one subject. That does little harm; one person taken for two subjects
    would be in two folds.
    """
    plain = unicodedata.normalize("NFKD", name).casefold()
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", plain)))


def _tokens(source: Metadata, row: int) -> list[str]:
    """Names and ids of a record's subject: normalised names, and ids that begin with "~"."""
    celebrity = int(source.celebrities[row])
    known_as = source.celebrity_names[celebrity - 1] if celebrity else ""
    tokens = [token for token in map(normalise, (source.names[row], known_as)) if token]
    if celebrity:
        tokens.append(f"~imdb celebrity {celebrity}")
    # 124 records of wiki have neither: each is a subject of its own.
    return tokens or [f"~{source.database} {source.paths[row]}"]


def subjects(sources: Iterable[Metadata]) -> list[str]:
    """The subject of each record, source after source.

    Records of imdb and wiki that share a celeb_id or a normalised name have one subject.

    Returns:
      The subject's normalised name (if several, the first in the alphabet), or "~" and an id if there is
      none.
    """
    # A name represents its subject rather than an id.
    groups = Groups[str](key=lambda token: (token.startswith("~"), token))
    firsts = []
    for source in sources:
        for row in range(len(source)):
            first, *others = _tokens(source, row)
            for other in others:
                groups.join(first, other)
            firsts.append(first)
    return [groups.find(first) for first in firsts]
