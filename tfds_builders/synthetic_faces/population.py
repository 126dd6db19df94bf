"""Who is in the data set: ages, genders, and the deal of people into folds."""

import dataclasses

import numpy as np

from ageflax.labels import AGE_GROUPS, GENDERS

FOLDS = 5
AGE_BOUNDS = tuple(tuple(int(year) for year in group.split("-")) for group in AGE_GROUPS)
# Two people of each group in each fold would be 80; below 40 a fold would lack a whole group.
MIN_PEOPLE = FOLDS * len(AGE_BOUNDS)

# Uneven as photo albums are, with young adults the most frequent.
_SHARES = np.array([0.13, 0.12, 0.12, 0.12, 0.18, 0.13, 0.09, 0.11])


@dataclasses.dataclass(frozen=True)
class Citizen:
    """A person of the data set.

    Attributes:
      number: from 0; says nothing about age, gender or fold.
      fold: the one fold that holds all photographs of this person.
      group: index into AGE_BOUNDS.
      age: years, inside the group's bounds.
      male: gender.
    """

    number: int
    fold: int
    group: int
    age: float
    male: bool

    @property
    def age_label(self) -> str:
        """The group as Adience's files write it, such as "(25, 32)"."""
        low, high = AGE_BOUNDS[self.group]
        return f"({low}, {high})"

    @property
    def gender(self) -> str:
        """One of GENDERS."""
        return GENDERS[int(self.male)]


def generator(*entropy: int) -> np.random.Generator:
    """Random numbers that depend on these integers alone."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


def populate(people: int, seed: int) -> list[Citizen]:
    """Draws everybody, dealt into folds of equal size and like composition.

    Like cards, people sorted by group and gender go to the folds in turn; so folds differ by at
    most one person in size, and by at most one in every age group. Genders alternate in who comes
    first, or the same fold would always get the odd one out.

    Args:
      people: how many, at least MIN_PEOPLE.
      seed: another seed, other people.

    Returns:
      By number.
    """
    random = generator(seed, people)
    numbers = random.permutation(people)
    fold_names = random.permutation(FOLDS)
    citizens = []
    for group, count in enumerate(_group_sizes(people)):
        first = (count + 1) // 2
        for k in range(count):
            dealt = len(citizens)
            citizens.append(
                Citizen(
                    number=int(numbers[dealt]),
                    fold=int(fold_names[dealt % FOLDS]),
                    group=group,
                    age=_age(random, group),
                    male=(k < first) == (group % 2 == 1),
                )
            )
    return sorted(citizens, key=lambda citizen: citizen.number)


def _group_sizes(people: int) -> list[int]:
    """People in each age group: at least one a fold, the rest by _SHARES (largest remainder)."""
    ideal = FOLDS + (people - MIN_PEOPLE) * _SHARES / _SHARES.sum()
    sizes = np.floor(ideal).astype(int)
    order = np.argsort(sizes - ideal, kind="stable")
    sizes[order[: people - sizes.sum()]] += 1
    return sizes.tolist()


def _age(random: np.random.Generator, group: int) -> float:
    low, high = AGE_BOUNDS[group]
    # The last group thins out with the years, as populations do.
    share = random.beta(1.1, 2.2) if high == 100 else random.random()
    return round(low + (high - low) * share, 1)
