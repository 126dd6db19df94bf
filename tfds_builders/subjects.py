"""Subjects and the five folds, with no subject in two."""

import hashlib
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Generic, TypeVar

from ageflax.errors import InputError

FOLDS = range(5)
Member = TypeVar("Member", bound=Hashable)


def divide(counts: Mapping[str, int], given: Mapping[str, int] | None = None) -> dict[str, int]:
    """Divides subjects into folds of equal size.

    Subjects with many images are placed first, those with equally many in the order of the hashes of
    their names; each goes to the fold that is smallest by then. So the folds depend only on the counts,
    and differ by at most one image if many subjects have one.

    Args:
      counts: number of images of each subject.
      given: folds of some subjects.

    Returns:
      Each subject's fold.

    Raises:
      InputError: a fold is empty.
    """
    given = given or {}
    folds = dict(given)
    sizes = [0] * len(FOLDS)
    for subject, fold in folds.items():
        sizes[fold] += counts[subject]
    free = counts.keys() - folds.keys()
    for subject in sorted(free, key=lambda s: (-counts[s], hashlib.md5(s.encode()).digest())):
        folds[subject] = sizes.index(min(sizes))
        sizes[folds[subject]] += counts[subject]
    if 0 in sizes:
        cause = "five folds need at least five subjects"
        if len(counts) >= len(FOLDS):  # only given folds leave one empty
            named = ", ".join(map(str, sorted(set(given.values()))))
            cause = f"the given folds are {named}: give 0 to 4, or none at all to divide by subject"
        raise InputError(
            f"fold {sizes.index(0)} is empty: {sum(sizes):,} usable images of {len(counts):,} subjects;"
            f" {cause}"
        )
    return folds


class Groups(Generic[Member]):
    """Groups of members that are joined pair by pair (union-find).

    Args:
      key: sort key of members; the smallest member represents its group.
    """

    def __init__(self, key: Callable[[Member], Any]):
        self._key = key
        self._parents: dict[Member, Member] = {}

    def find(self, member: Member) -> Member:
        """The representative of a member's group; the member itself if it was never joined."""
        root = member
        while (parent := self._parents.setdefault(root, root)) != root:
            root = parent
        while member != root:  # shorten the path for the next call
            self._parents[member], member = root, self._parents[member]
        return root

    def join(self, one: Member, other: Member) -> None:
        """Joins the groups of two members."""
        low, high = sorted((self.find(one), self.find(other)), key=self._key)
        self._parents[high] = low
