"""Subjects of the dataset: ages, genders and folds."""

import dataclasses

import numpy as np

from ageflax.labels import AGE_GROUPS, GENDERS

FOLDS = 5
AGE_BOUNDS = tuple(tuple(int(year) for year in group.split("-")) for group in AGE_GROUPS)
# With fewer than 40, a fold would lack an age group; 80 give both genders of each group in each fold.
MIN_PEOPLE = FOLDS * len(AGE_BOUNDS)

# Uneven, as in photo albums: young adults are the most frequent.
_SHARES = np.array([0.13, 0.12, 0.12, 0.12, 0.18, 0.13, 0.09, 0.11])


@dataclasses.dataclass(frozen=True)
class Subject:
    """A subject of the dataset.

    Attributes:
      number: number from 0, independent of age, gender and fold.
      fold: fold of all photographs of the subject.
      group: index into AGE_BOUNDS.
      age: years, within the group's bounds.
      male: gender.
    """

    number: int
    fold: int
    group: int
    age: float
    male: bool

    @property
    def age_label(self) -> str:
        """The group as in Adience's files, such as "(25, 32)"."""
        low, high = AGE_BOUNDS[self.group]
        return f"({low}, {high})"

    @property
    def gender(self) -> str:
        """One of GENDERS."""
        return GENDERS[int(self.male)]


def generator(*entropy: int) -> np.random.Generator:
    """Random numbers that depend only on these integers."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


def populate(people: int, seed: int) -> list[Subject]:
    """Draws all subjects, in folds of equal size and similar composition.

    Subjects sorted by group and gender are dealt to the folds in turn like cards, so that folds differ
    by at most one subject in size and in every age group. The gender that comes first alternates, or the
    same fold would always get the odd one.

    Args:
      people: number of subjects, at least MIN_PEOPLE.
      seed: random seed.

    Returns:
      The subjects by number.
    """
    random = generator(seed, people)
    numbers = random.permutation(people)
    fold_names = random.permutation(FOLDS)
    subjects = []
    for group, count in enumerate(_group_sizes(people)):
        first = (count + 1) // 2
        for k in range(count):
            dealt = len(subjects)
            subjects.append(
                Subject(
                    number=int(numbers[dealt]),
                    fold=int(fold_names[dealt % FOLDS]),
                    group=group,
                    age=_age(random, group),
                    male=(k < first) == (group % 2 == 1),
                )
            )
    return sorted(subjects, key=lambda subject: subject.number)


def _group_sizes(people: int) -> list[int]:
    """Subjects per age group: at least one per fold, the rest by _SHARES (largest remainder)."""
    ideal = FOLDS + (people - MIN_PEOPLE) * _SHARES / _SHARES.sum()
    sizes = np.floor(ideal).astype(int)
    order = np.argsort(sizes - ideal, kind="stable")
    sizes[order[: people - sizes.sum()]] += 1
    return sizes.tolist()


def _age(random: np.random.Generator, group: int) -> float:
    low, high = AGE_BOUNDS[group]
    # In the last group, ages thin out towards 100.
    share = random.beta(1.1, 2.2) if high == 100 else random.random()
    return round(low + (high - low) * share, 1)
