"""Finds a dataset on disk, and builds it if absent."""

import contextlib
import importlib
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ageflax.data.building import disk
from ageflax.data.dataset import StoredDataset
from ageflax.errors import InputError, first_line
from ageflax.runtime import files

_ABSENT = """\
dataset {name} is not built, and its source files are not in {manual}.
{instructions}
--config.data.manual_dir=FOLDER names another folder; then run this command again. No images at hand?
--config=configs/quickstart.py trains on drawn faces."""


def builder_names() -> list[str]:
    """Names of the datasets that this project can build."""
    if importlib.util.find_spec("tfds_builders") is None:
        return []
    package = importlib.import_module("tfds_builders")
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__) if module.ispkg)


def _versions(data_dir: Path, name: str) -> list[Path]:
    """Version folders of a built dataset, oldest first."""

    def version(path: Path) -> tuple[int, ...]:
        return tuple(int(part) if part.isdigit() else -1 for part in path.name.split("."))

    found = (data_dir / name).glob("*.*.*/dataset_info.json")
    return sorted((path.parent for path in found), key=version)


def data_dir(configured: str) -> Path:
    """Folder for built datasets: the configured one, else TFDS's default."""
    from tensorflow_datasets.core import constants

    try:
        return Path(files.local(configured or constants.DATA_DIR))
    except InputError as error:
        name = "data.dir" if configured else "data.dir or TFDS_DATA_DIR"
        raise InputError(f"{name}: {error}") from error


def _opened(path: Path) -> StoredDataset:
    """Opens a version; only array_record can be read at random and without TensorFlow."""
    # TFDS converts in place and keeps the first format's name in dataset_info.json: look at the files.
    if any(path.glob("*.array_record*")):
        return StoredDataset(path)
    file_format = (files.read_json(path / "dataset_info.json") or {}).get("fileFormat")
    raise InputError(
        f"{path} is built as {file_format}, which training cannot read; convert it once (the command"
        " comes with the tfds extra):\n"
        f"  tfds convert_format --dataset_version_dir={path} --out_file_format=array_record"
    )


def _find_builder(name: str) -> Any:
    builder_name = name.split("/")[0]
    if builder_name not in builder_names():
        import difflib

        close = difflib.get_close_matches(builder_name, builder_names(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(builder_names())}"
        raise InputError(f"data.name = {name!r}: no dataset {builder_name!r}; {hint}")
    module = f"tfds_builders.{builder_name}.{builder_name}_dataset_builder"
    return importlib.import_module(module).Builder


def _prepare(name: str, directory: Path, manual_dir: Path, say: Callable[[str], None]) -> Path:
    """Builds a dataset with TFDS's Python API, which needs no TensorFlow."""
    import tensorflow_datasets as tfds

    builder_class = _find_builder(name)
    config = name.partition("/")[2]
    # A builder from downloaded files has instructions to get them, and a pattern that recognises one.
    instructions = builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS
    if instructions and not any(manual_dir.glob(builder_class.MANUAL_FILE)):
        text = inspect.cleandoc(instructions)
        raise InputError(_ABSENT.format(name=name, manual=manual_dir, instructions=text))
    files.make_writable(directory, "data.dir")
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        builder = builder_class(data_dir=directory, config=config or None)
    except ValueError as error:
        raise InputError(f"data.name = {name!r}: {first_line(error)}") from error
    say(f"building {builder.info.full_name} in {directory}")
    download_config = tfds.download.DownloadConfig(manual_dir=manual_dir)
    try:
        # TFDS prints its progress; standard output is for results.
        with (
            contextlib.redirect_stdout(sys.stderr),
            disk.failures_told(Path(builder.data_path)),
        ):
            builder.download_and_prepare(
                download_config=download_config, file_format="array_record"
            )
    except PermissionError as error:
        raise InputError(f"data.dir={directory}: cannot be written: {error.strerror}") from error
    return Path(builder.data_path)


def _with_config(name: str) -> str:
    """Completes a builder's name with its default config."""
    if "/" in name:
        return name
    default = _find_builder(name).BUILDER_CONFIGS
    return f"{name}/{default[0].name}" if default else name


def open_built(name: str, *, directory: str = "") -> StoredDataset:
    """Opens the newest version of a built dataset.

    Args:
      name: builder[/config], as for `open_dataset`.
      directory: folder of datasets; "" is TFDS's default.

    Raises:
      InputError: unknown name, not built, or built in a format that training cannot read.
    """
    root, name = data_dir(directory), _with_config(name)
    found = _versions(root, name)
    if not found:
        _find_builder(name)  # raises if the name is unknown
        raise InputError(f"dataset {name} is not built in {root}; training on it builds it")
    return _opened(found[-1])


def open_dataset(
    name: str, *, directory: str = "", manual_dir: str = "", say: Callable[[str], None]
) -> StoredDataset:
    """Opens the newest version of a dataset; builds it first if absent.

    Args:
      name: builder[/config], such as "adience/aligned"; a builder alone means its default config.
      directory: folder of datasets; "" is TFDS's default.
      manual_dir: folder of downloaded archives; "" is `directory`/downloads/manual.
      say: receives lines for the user.

    Raises:
      InputError: unknown name, archives absent, or built in a format that training cannot read.
    """
    root, name = data_dir(directory), _with_config(name)
    found = _versions(root, name)
    if found:
        return _opened(found[-1])
    manual = Path(manual_dir).expanduser() if manual_dir else root / "downloads" / "manual"
    return _opened(_prepare(name, root, manual, say))
