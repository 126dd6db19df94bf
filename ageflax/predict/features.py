"""The file of features: what the model's trunk makes of each face, with enough to find its line."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ageflax.predict.face import Face
from ageflax.predict.predictor import Predictor
from ageflax.runtime import files

# Columns beside the features, by their attribute of Face; -1 and NaN stand for None.
_COLUMNS = {"source": np.str_, "image": np.int64, "frame": np.int64, "track": np.int64,
            "box": np.float32, "detection_score": np.float32, "age": np.float32}  # fmt: skip


class FeaturesFile:
    """An .npz file, written whole at the end of a `with` block, or not at all.

    Row k of every array is the k-th face printed: `features` float32[n, f] (see Predictor.features),
    `source` str[n], `image`, `frame` and `track` int64[n] (-1 for none), `box` float32[n, 4],
    `detection_score` and `age` float32[n] (NaN for none); and `model`, `sha256` and `crops`, one text
    each, of which all rows are.

    Args:
      path: file to write; replaced if present.
      predictor: source of the faces, for the model's name, digest and views.

    Raises:
      InputError: the model gives no features, or the file cannot be written.
    """

    def __init__(self, path: Path, predictor: Predictor):
        model = predictor.estimator.model
        predictor.estimator.answer(features=True)  # refuses a model that has none at once
        files.make_writable(path.parent, "--features")
        self._path = path
        self._about = {
            "model": np.array(model.name),
            "sha256": np.array(model.members[0].sha256),
            "crops": np.array(predictor.estimator.crops),
        }
        # A long video's features do not fit in memory.
        self._features = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115  closed by __exit__
        self._width, self._rows = 0, {name: [] for name in _COLUMNS}

    def add(self, faces: Sequence[Face]) -> None:
        """Adds a row per face."""
        with files.naming(self._path):
            for face in faces:
                assert face.features is not None  # since they were asked for
                self._width = len(face.features)
                self._features.write(face.features.tobytes())
                for name, values in self._rows.items():
                    values.append(getattr(face, name))

    def __enter__(self) -> "FeaturesFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        with self._features:
            if kind is not None:
                return
            count, features = len(self._rows["source"]), np.zeros((0, self._width), np.float32)
            with files.replacing(self._path) as temporary, temporary.open("wb") as file:
                self._features.flush()
                if count:
                    shape = count, self._width
                    features = np.memmap(self._features, np.float32, "r", shape=shape)
                arrays: dict[str, Any] = {
                    "features": features,
                    **self._columns(count),
                    **self._about,
                }
                np.savez(file, **arrays)

    def _columns(self, count: int) -> dict[str, np.ndarray]:
        columns = {}
        for name, dtype in _COLUMNS.items():
            none = -1 if dtype is np.int64 else np.nan
            values = [none if value is None else value for value in self._rows[name]]
            columns[name] = np.array(values, dtype).reshape(count, *[4] * (name == "box"))
        return columns
