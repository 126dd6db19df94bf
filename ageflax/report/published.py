"""Published figures for Adience, to show beside a run; none were measured by this project.

All are from five-fold cross-validation on Adience's own folds. Figures that a source does not print are
None.
"""

import dataclasses

_LEVI = "Levi & Hassner, CVPR Workshops 2015"
_LAPUSCHKIN = "Lapuschkin et al., ICCV Workshops 2017"
_ROTHE = "Rothe et al., IJCV 126, 2018"
_MIVOLO = "Kuprashevich et al., arXiv 2403.02302, 2024"


@dataclasses.dataclass(frozen=True)
class Share:
    """A share in percent, and its std over the five folds if printed."""

    mean: float
    deviation: float | None = None


@dataclasses.dataclass(frozen=True)
class Published:
    """One method's figures for one task.

    Attributes:
      task: "age" or "gender".
      method: network, pre-training, alignment and test crops, in words; over-sample averages ten
        crops.
      exact: exact accuracy.
      one_off: share within one age group; None for gender, or if not reported.
      source: publication that prints the figures.
    """

    task: str
    method: str
    exact: Share
    one_off: Share | None
    source: str


ADIENCE = (
    Published("age", "Levi-Hassner, centre crop", Share(49.5, 4.4), Share(84.6, 1.7), _LEVI),
    Published("age", "Levi-Hassner, over-sample", Share(50.7, 5.1), Share(84.7, 2.2), _LEVI),
    Published("age", "Levi-Hassner, landmark alignment, over-sample", Share(51.4), Share(87.0),
              _LAPUSCHKIN),
    Published("age", "Levi-Hassner, mixed alignment, over-sample", Share(53.6), Share(88.4),
              _LAPUSCHKIN),
    Published("age", "VGG-16, ImageNet, mixed alignment", Share(56.5), Share(90.0), _LAPUSCHKIN),
    Published("age", "VGG-16, IMDB-WIKI, mixed alignment", Share(63.0), Share(96.0), _LAPUSCHKIN),
    Published("age", "DEX, ImageNet", Share(55.6, 6.1), Share(89.7, 1.8), _ROTHE),
    Published("age", "DEX, IMDB-WIKI", Share(64.0, 4.2), Share(96.6, 0.9), _ROTHE),
    Published("age", "MiVOLO v2, more data, stray labels mapped", Share(69.4), None, _MIVOLO),
    Published("gender", "Levi-Hassner, centre crop", Share(85.9, 1.4), None, _LEVI),
    Published("gender", "Levi-Hassner, over-sample", Share(86.8, 1.4), None, _LEVI),
    Published("gender", "Levi-Hassner, landmark alignment, over-sample", Share(88.1), None,
              _LAPUSCHKIN),
    Published("gender", "Levi-Hassner, mixed alignment, over-sample", Share(89.0), None,
              _LAPUSCHKIN),
    Published("gender", "VGG-16, ImageNet, mixed alignment", Share(92.7), None, _LAPUSCHKIN),
    Published("gender", "VGG-16, IMDB-WIKI, mixed alignment", Share(92.3), None, _LAPUSCHKIN),
    Published("gender", "MiVOLO v2, more data", Share(97.4), None, _MIVOLO),
)  # fmt: skip


def comparable(name: str, edition: str | None, policy: str) -> bool:
    """Tells if a run's figures are comparable with these: on Adience, in its own classes.

    Args:
      name: TFDS name of the dataset, such as "adience/aligned/1.0.0".
      edition: edition of the fold files from the dataset's metadata; unknown fold files hold other
        faces.
      policy: label policy.
    """
    known = edition is not None and not edition.startswith("unknown")
    return name.split("/")[0] == "adience" and known and policy != "intervals"


def of_task(task: str) -> tuple[Published, ...]:
    """Figures for a task; those for age are comparable with the groups that years add up to."""
    return tuple(f for f in ADIENCE if f.task == ("age" if task == "years" else task))
