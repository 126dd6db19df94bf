"""Folder of a test's results: its default name, and the check that nothing else is overwritten."""

import re
from pathlib import Path

from ageflax.bundle.model import Model
from ageflax.errors import InputError
from ageflax.evaluation import unseen
from ageflax.runtime import files


def default(model: Model, dataset: str) -> Path:
    """Default folder, such as runs/evaluate/levi_fold_0_on_adience_aligned."""
    # Resolved, as a path may be as short as "."; a name on the hub is complete.
    of_hub = model.members[0].description.source.get("hub") is not None
    path = Path(model.name.removeprefix("hf://")) if of_hub else Path(model.name).resolve()
    path = path.with_suffix("") if model.is_onnx else path
    words = [part for part in path.parts if part not in ("/", "runs", "bundle")][-2:]
    name = "_".join([*words, "on", *unseen.without_version(dataset).split("/")])
    return Path("runs") / "evaluate" / re.sub(r"[^\w.-]", "_", name)


def claim(directory: Path) -> None:
    """Makes the folder of results.

    Raises:
      InputError: the folder cannot be written, or holds a training run.
    """
    files.make_writable(directory, "--output")
    before = files.read_json(directory / "result.json")
    of_a_run = ("config.json", "checkpoints", "bundle")
    if (before is not None and not (isinstance(before, dict) and "model" in before)) or any(
        (directory / name).exists() for name in of_a_run
    ):
        raise InputError(
            f"--output={directory}: holds a training run, which is not overwritten; name another folder"
        )
