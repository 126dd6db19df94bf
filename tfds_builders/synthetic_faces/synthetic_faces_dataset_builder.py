"""The dataset `synthetic_faces`: portraits drawn during the build, nothing downloaded."""

import dataclasses
import functools
import re
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from ageflax.errors import InputError
from ageflax.labels import GENDERS

from .drawing import DRAWING_VERSION, photograph
from .population import FOLDS, MIN_PEOPLE, Subject, populate

_NAME = re.compile(r"people_(\d+)_photos_(\d+)_size_(\d+)_seed_(\d+)")
_PATTERN = "people_P_photos_N_size_S_seed_K"
_LIMITS = {
    # With fewer, a fold would lack an age group.
    "people": (MIN_PEOPLE, 100_000),
    "photos": (1, 100),
    # Smaller pictures show no wrinkles; larger ones look like drawings.
    "size": (32, 1024),
    "seed": (0, 2**32 - 1),
}


# Not frozen, since its base class is not.
@dataclasses.dataclass(eq=False, kw_only=True)
class SyntheticFacesConfig(tfds.core.BuilderConfig):
    """Number and size of the faces.

    Attributes:
      people: number of subjects in all folds.
      photos: number of photographs per subject.
      size: side of the square pictures, pixels.
      seed: random seed; other seeds give other subjects.
    """

    people: int = 300
    photos: int = 4
    size: int = 80
    seed: int = 0

    def __post_init__(self):
        for field, (low, high) in _LIMITS.items():
            value = getattr(self, field)
            if not low <= value <= high:
                raise InputError(
                    f"synthetic_faces/{self.name}: {field} is {value}, must be {low} to {high}"
                )


@functools.cache  # TFDS compares configs of a name by identity.
def config_from_name(name: str) -> SyntheticFacesConfig:
    """Makes the config of a name such as "people_200_photos_5_size_64_seed_0".

    Raises:
      InputError: the name does not follow the pattern, or a number is out of bounds.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise InputError(f"synthetic_faces/{name}: no such config; use default or {_PATTERN}")
    people, photos, size, seed = map(int, match.groups())
    return SyntheticFacesConfig(
        name=name,
        description=f"{people} people, {photos} photographs of each, {size} pixels, seed {seed}.",
        people=people,
        photos=photos,
        size=size,
        seed=seed,
    )


class Builder(tfds.core.GeneratorBasedBuilder):
    """Drawn faces with known age and gender, in five folds by subject."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        SyntheticFacesConfig(
            name="default",
            description="300 people, 4 photographs of each, 80 pixels.",
        )
    ]

    def __init__(self, *, file_format: Any = None, **kwargs: Any):
        # Training reads array_record without TensorFlow; TFDS's default is another format.
        super().__init__(file_format=file_format or "array_record", **kwargs)

    @classmethod
    def get_builder_config(cls, name: str, version: Any = None) -> SyntheticFacesConfig:
        """Returns the default config, or the config with the numbers in the name.

        Raises:
          InputError: see `config_from_name`.
        """
        config = super().get_builder_config(name, version)
        if isinstance(config, SyntheticFacesConfig):
            return config
        return config_from_name(name)

    @property
    def _faces(self) -> SyntheticFacesConfig:
        config = self.builder_config
        if not isinstance(config, SyntheticFacesConfig):
            raise InputError(f"synthetic_faces: no such config; use default or {_PATTERN}")
        return config

    def _info(self) -> tfds.core.DatasetInfo:
        """Features and metadata of this build."""
        config = self._faces
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                    "key": tfds.features.Text(),
                    "subject": tfds.features.Text(),
                    "age_label": tfds.features.Text(),
                    "age": np.float32,
                    "gender": tfds.features.ClassLabel(names=list(GENDERS)),
                }
            ),
            metadata=tfds.core.MetadataDict(
                seed=config.seed,
                people=config.people,
                photos=config.photos,
                size=config.size,
                drawing_version=DRAWING_VERSION,
                licence="Apache-2.0 (drawn by this project)",
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        """The five folds; nothing is downloaded."""
        del dl_manager
        subjects = populate(self._faces.people, self._faces.seed)
        return {
            f"fold_{fold}": self._generate_examples([s for s in subjects if s.fold == fold])
            for fold in range(FOLDS)
        }

    def _generate_examples(self, subjects: list[Subject]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Draws all photographs of some subjects."""
        config = self._faces
        for subject in subjects:
            name = f"person_{subject.number:05d}"
            for number in range(config.photos):
                key = f"{name}_{number:02d}"
                yield (
                    key,
                    {
                        "image": photograph(subject, number, size=config.size, seed=config.seed),
                        "key": key,
                        "subject": name,
                        "age_label": subject.age_label,
                        "age": np.float32(subject.age),
                        "gender": subject.gender,
                    },
                )
