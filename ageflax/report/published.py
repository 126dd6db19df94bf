"""What papers report on Adience: data to stand beside a run, none of it measured by this project.

Five-fold cross-validation on Adience's own folds. Only figures whose source names them are here; a
deviation is null where the source prints none.
"""

import dataclasses

_LEVI = "Levi & Hassner, CVPR Workshops 2015"
_LAPUSCHKIN = "Lapuschkin et al., ICCV Workshops 2017"
_ROTHE = "Rothe et al., IJCV 126, 2018"
_MIVOLO = "Kuprashevich et al., arXiv 2403.02302, 2024"


@dataclasses.dataclass(frozen=True)
class Share:
    """A share in percent, and its deviation over the five folds where it is known."""

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
      one_off: share within one age group; null for gender, or where it is not reported.
      source: where the figures are printed.
    """

    task: str
    method: str
    exact: Share
    one_off: Share | None
    source: str


ADIENCE = (
    Published("age", "Levi-Hassner, centre crop", Share(49.5, 4.4), Share(84.6, 1.7), _LEVI),
    Published("age", "Levi-Hassner, over-sample", Share(50.7, 5.1), Share(84.7, 2.2), _LEVI),
    Published(
        "age",
        "Levi-Hassner, landmark alignment, over-sample",
        Share(51.4),
        Share(87.0),
        _LAPUSCHKIN,
    ),
    Published(
        "age", "Levi-Hassner, mixed alignment, over-sample", Share(53.6), Share(88.4), _LAPUSCHKIN
    ),
    Published("age", "VGG-16, ImageNet, mixed alignment", Share(56.5), Share(90.0), _LAPUSCHKIN),
    Published("age", "VGG-16, IMDB-WIKI, mixed alignment", Share(63.0), Share(96.0), _LAPUSCHKIN),
    Published("age", "DEX, ImageNet", Share(55.6, 6.1), Share(89.7, 1.8), _ROTHE),
    Published("age", "DEX, IMDB-WIKI", Share(64.0, 4.2), Share(96.6, 0.9), _ROTHE),
    Published("age", "MiVOLO v2, more data, stray labels mapped", Share(69.4), None, _MIVOLO),
    Published("gender", "Levi-Hassner, centre crop", Share(85.9, 1.4), None, _LEVI),
    Published("gender", "Levi-Hassner, over-sample", Share(86.8, 1.4), None, _LEVI),
    Published(
        "gender", "Levi-Hassner, landmark alignment, over-sample", Share(88.1), None, _LAPUSCHKIN
    ),
    Published(
        "gender", "Levi-Hassner, mixed alignment, over-sample", Share(89.0), None, _LAPUSCHKIN
    ),
    Published("gender", "VGG-16, ImageNet, mixed alignment", Share(92.7), None, _LAPUSCHKIN),
    Published("gender", "VGG-16, IMDB-WIKI, mixed alignment", Share(92.3), None, _LAPUSCHKIN),
    Published("gender", "MiVOLO v2, more data", Share(97.4), None, _MIVOLO),
)


def comparable(name: str, edition: str | None, policy: str) -> bool:
    """Whether figures of a run may stand beside these: on Adience itself, in its own classes.

    Args:
      name: of the dataset as TFDS has it, such as "adience/aligned/1.0.0".
      edition: of the fold files, as the dataset's metadata has it; other files than a known
        edition's hold other faces.
      policy: how labels became classes.
    """
    known = edition is not None and not edition.startswith("unknown")
    return name.split("/")[0] == "adience" and known and policy != "intervals"


def of_task(task: str) -> tuple[Published, ...]:
    """Figures for "age" or "gender"."""
    return tuple(figure for figure in ADIENCE if figure.task == task)
