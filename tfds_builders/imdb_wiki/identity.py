"""Who is who in IMDB-WIKI, and which fold a person is in."""

import collections
import hashlib
import heapq
import unicodedata
from collections.abc import Iterable, Sequence

from ageflax.errors import InputError

from .metadata import Metadata

FOLDS = range(5)


def normalise(name: str) -> str:
    """A name without what spellings differ in: accents, case, punctuation and spaces.

    Two people of one name become one. That costs nothing but a little freedom in dividing them,
    whereas one person taken for two would be in two folds.
    """
    plain = unicodedata.normalize("NFKD", name).casefold()
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKD", plain)))


class _Groups:
    """Sets of tokens that grow together (union-find)."""

    def __init__(self):
        self._parents: dict[str, str] = {}

    def find(self, token: str) -> str:
        root = token
        while (parent := self._parents.setdefault(root, root)) != root:
            root = parent
        while token != root:  # so that the next way is short
            self._parents[token], token = root, self._parents[token]
        return root

    def join(self, one: str, other: str) -> None:
        # One token speaks for both, whatever the order they were joined in: a name before an id.
        roots = {self.find(one), self.find(other)}
        low, *high = sorted(roots, key=lambda token: (token.startswith("~"), token))
        self._parents.update(dict.fromkeys(high, low))


def _tokens(source: Metadata, row: int) -> list[str]:
    """What a record says of its person: normalised names, and ids that begin with "~"."""
    celebrity = int(source.celebrities[row])
    known_as = source.celebrity_names[celebrity - 1] if celebrity else ""
    tokens = [token for token in map(normalise, (source.names[row], known_as)) if token]
    if celebrity:
        tokens.append(f"~imdb celebrity {celebrity}")
    # Nothing at all is known of 124 records of wiki: each is a person of its own.
    return tokens or [f"~{source.database} {source.paths[row]}"]


def subjects(sources: Iterable[Metadata]) -> list[str]:
    """The person in each record, source after source.

    A person is a celeb_id of imdb and a normalised name, in imdb and wiki alike: records that share
    one of them are of one person.

    Returns:
      The person's normalised name (of several, the first in the alphabet), or "~" and an id where
      the source gives no name.
    """
    groups = _Groups()
    firsts = []
    for source in sources:
        for row in range(len(source)):
            first, *others = _tokens(source, row)
            for other in others:
                groups.join(first, other)
            firsts.append(first)
    return [groups.find(first) for first in firsts]


def folds(persons: Sequence[str]) -> dict[str, int]:
    """Divides people over the folds so that these are of equal size.

    The people with most images come first, those with equally many in the order of the hashes of
    their names; each goes to the fold that is smallest by then. So the folds depend on nothing but
    the images, and differ by one image where many people have one.

    Args:
      persons: the person in each image.

    Returns:
      The fold of each person.

    Raises:
      InputError: fewer people than folds.
    """
    counts = collections.Counter(persons)
    if len(counts) < len(FOLDS):
        raise InputError(
            f"{len(persons):,} usable images of {len(counts)} people: five folds with no person in "
            "two need five people at least"
        )
    order = sorted(counts, key=lambda one: (-counts[one], hashlib.md5(one.encode()).digest()))
    sizes = [(0, fold) for fold in FOLDS]
    placed = {}
    for person in order:
        size, fold = heapq.heappop(sizes)
        placed[person] = fold
        heapq.heappush(sizes, (size + counts[person], fold))
    return placed
