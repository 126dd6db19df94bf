"""Building a dataset from a folder and reading it back, for the tests of all builders."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds


def _build(
    builder_class: Any, manual_dir: Path, config: str | None = None, data_dir: Path | None = None
) -> Any:
    builder = builder_class(config=config, data_dir=data_dir or manual_dir.parent / "built")
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir)
    )
    return builder


def builds(builder_class: Any) -> Callable[..., Any]:
    """A function (manual_dir, config, data_dir) that builds a dataset of this class.

    The dataset is array_record, beside the manual folder unless data_dir is given.
    """
    return functools.partial(_build, builder_class)


def examples(builder: Any) -> dict[str, dict[str, Any]]:
    """All examples by key, each with the name of its split; text decoded."""
    found: dict[str, dict[str, Any]] = {}
    for split in builder.info.splits:
        raw = {"image": tfds.decode.SkipDecoding()}
        for stored in builder.as_data_source(split, decoders=raw):
            text = {name: stored[name].decode() for name in ("key", "subject", "age_label")}
            assert text["key"] not in found
            found[text["key"]] = stored | text | {"split": split}
    return found


def metadata(builder: Any) -> dict[str, Any]:
    """Metadata written by the build."""
    return json.loads((Path(builder.data_path) / "metadata.json").read_text())
