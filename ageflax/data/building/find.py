"""Finds a dataset on disk, and builds it if absent."""

import contextlib
import dataclasses
import importlib
import inspect
import pkgutil
import shutil
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import tfds_builders as builders
from ageflax.data.building import disk, source
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
    found = pkgutil.iter_modules(builders.__path__)
    return sorted(module.name for module in found if module.ispkg)


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


def builder_class(name: str) -> Any:
    """The builder of a dataset, `builder[/config]`; importing it registers it with TFDS.

    Raises:
      InputError: no such builder.
    """
    builder_name = name.split("/")[0]
    if builder_name not in builder_names():
        import difflib

        close = difflib.get_close_matches(builder_name, builder_names(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(builder_names())}"
        raise InputError(f"data.name = {name!r}: no dataset {builder_name!r}; {hint}")
    module = f"{builders.__name__}.{builder_name}.{builder_name}_dataset_builder"
    return importlib.import_module(module).Builder


def _prepare(name: str, directory: Path, manual_dir: Path, say: Callable[[str], None]) -> Path:
    """Builds a dataset with TFDS's Python API, which needs no TensorFlow."""
    import tensorflow_datasets as tfds

    kind = builder_class(name)
    config = name.partition("/")[2]
    # A builder from downloaded files has instructions to get them, and patterns that recognise one.
    instructions = kind.MANUAL_DOWNLOAD_INSTRUCTIONS
    if instructions and not any(any(manual_dir.glob(pattern)) for pattern in kind.MANUAL_FILES):
        text = inspect.cleandoc(instructions)
        raise InputError(_ABSENT.format(name=name, manual=manual_dir, instructions=text))
    files.make_writable(directory, "data.dir")
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    try:
        builder = kind(data_dir=directory, config=config or None)
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
    default = builder_class(name).BUILDER_CONFIGS
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
        builder_class(name)  # raises if the name is unknown
        raise InputError(f"dataset {name} is not built in {root}; training on it builds it")
    return _opened(found[-1])


@dataclasses.dataclass(frozen=True)
class _Asked:
    """Source files that a command asks for.

    Attributes:
      folder: folder of downloads that has them.
      difference: how they differ from those of the build; None if the build recorded none.
    """

    folder: Path
    difference: source.Difference | None

    def reason(self, own: Path | None, *, named: bool) -> str:
        """Why a build is not, or may not be, of these files; "" if it is.

        Args:
          own: folder that the dataset was built from, if recorded.
          named: True if the command names the folder, which then has to hold images.
        """
        if self.difference is None:
            return "was built before source files were recorded: they may have changed since"
        gone = self.difference.gone if named and self.folder != own else ()
        absent = [f"not there: {', '.join(gone)}"] if gone else []
        return "; ".join([*self.difference.changes, *absent])


def _asked(stored: StoredDataset, name: str, folders: Iterable[Path]) -> _Asked | None:
    """The source files of a dataset in the first folder that has them; None if none does."""
    find_source, config = builder_class(name).find_source, name.partition("/")[2]
    found = []
    for folder in folders:
        if place := find_source(folder, config):
            recorded = source.of_metadata(stored.metadata)
            difference = source.compare(stored.path, place) if recorded else None
            found.append(_Asked(folder.absolute(), difference))
    # A folder of labels without images should not hide the one that the dataset was built from.
    return min(found, key=lambda one: bool(one.difference and one.difference.gone), default=None)


def _rebuild(name: str, root: Path, manual_dir: Path, say: Callable[[str], None]) -> Path:
    """Builds a dataset anew; the old build is removed once the new one is complete."""
    path = root / name / str(builder_class(name).VERSION)
    aside = path.with_name(f"replaced-{path.name}")
    if path.exists():
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
    try:
        return _prepare(name, root, manual_dir, say)
    finally:
        if path.exists():
            shutil.rmtree(aside, ignore_errors=True)
        elif aside.exists():
            aside.rename(path)


def _tell_absent(name: str, given: Path, own: Path | None, say: Callable[[str], None]) -> None:
    """Says that a named folder without source files plays no part, as after their deletion.

    Raises:
      InputError: the folder is there, and the dataset is known to be built from another.
    """
    problem = f"data.manual_dir = {given}: no source files of {name}"
    if own and given.exists():
        raise InputError(f"{problem}, which is built from {own}; leave it out to use that build")
    say(f"{problem}; it is used as built{f' from {own}' if own else ''}")


def open_dataset(
    name: str,
    *,
    directory: str = "",
    manual_dir: str = "",
    rebuild: bool = False,
    say: Callable[[str], None],
) -> StoredDataset:
    """Opens the newest version of a dataset; builds it first if absent.

    Args:
      name: builder[/config], such as "adience/aligned"; a builder alone means its default config.
      directory: folder of datasets; "" is TFDS's default.
      manual_dir: folder of downloaded archives; "" is `directory`/downloads/manual, else the folder that
        the dataset was built from. If the files in it are gone, the dataset is used as built.
      rebuild: True to build it anew if its source files have changed.
      say: receives lines for the user.

    Raises:
      InputError: unknown name, archives absent, built in a format that training cannot read, or built
        from other files and not to be rebuilt.
    """
    root, name = data_dir(directory), _with_config(name)
    given, default = Path(manual_dir).expanduser(), root / "downloads" / "manual"
    found = _versions(root, name)
    if not found:
        return _opened(_prepare(name, root, given if manual_dir else default, say))
    stored = _opened(found[-1])
    # A drawn dataset, or one that another project builds, has no files to compare.
    if name.split("/")[0] not in builder_names() or not hasattr(builder_class(name), "find_source"):
        return stored
    recorded = source.of_metadata(stored.metadata)
    own = Path(recorded["path"]) if recorded else None
    looked = [given] if manual_dir else [default, *([own] if own else [])]
    asked = _asked(stored, name, looked)
    if asked is None:
        if rebuild:
            raise InputError(
                f"data.rebuild: no source files of {name} in {looked[-1]}; leave it out"
            )
        if manual_dir and given.absolute() != own:
            _tell_absent(name, given, own, say)
        return stored
    reason = asked.reason(own, named=bool(manual_dir))
    folder, difference = asked.folder, asked.difference
    if reason and rebuild:
        say(f"{name}: {folder}: {reason}: building it anew")
        return _opened(_rebuild(name, root, folder, say))
    if difference is None:
        say(f"{name} {reason}; --config.data.rebuild=true builds it anew from {folder}")
    elif reason:
        other = f", {own}" if folder != own else ""
        remedy = f"--config.data.manual_dir={own}" if other else "another data.dir"
        raise InputError(
            f"data.manual_dir = {folder}: differs from what {name} was built from{other}: {reason};"
            f" rebuild it with --config.data.rebuild=true, or name {remedy}"
        )
    elif difference.gone:
        say(f"{name} is used as built; no longer in {folder}: {', '.join(difference.gone)}")
    elif rebuild:
        say(f"data.rebuild: the source files of {name} have not changed; it is used as built")
    return stored
