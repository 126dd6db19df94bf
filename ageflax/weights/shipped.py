"""The model that comes with the package, by its name: `default` wherever a model is named or none is."""

from pathlib import Path

from ageflax.errors import InputError

NAME = "default"
FOLDER = Path(__file__).parents[1] / "bundle" / "default"


def folder() -> Path:
    """Folder of the default model, a bundle.

    Raises:
      InputError: this installation comes without it.
    """
    for name in ("config.json", "model.safetensors"):
        if not (FOLDER / name).is_file():
            raise InputError(
                f"default model: absent from this installation ({FOLDER} has no {name}); name another"
                " with --model=MODEL, or train one: see README.md"
            )
    return FOLDER


def located(source: Path | str) -> Path | str:
    """The folder of the default model for its name; any other source as it is.

    Raises:
      InputError: the default model is meant, and absent.
    """
    return folder() if str(source) == NAME else source
