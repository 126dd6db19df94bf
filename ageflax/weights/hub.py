"""Weights, and whole bundles, by their name on the Hugging Face hub."""

import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

from ageflax.errors import InputError
from ageflax.weights.formats import safetensors

_FILE = "model.safetensors"
_TIMEOUT = 10.0  # seconds to wait for the hub's first answer

# Commit and sha256 of model.safetensors where none is asked for, so that a name means the same weights
# tomorrow: torchvision's IMAGENET1K_V1 in timm's copies. The values are those that other public projects
# pin; a file that differs is refused, and an explicit revision goes by what the hub states instead.
PINNED: dict[str, tuple[str, str]] = {
    "timm/resnet18.tv_in1k": (
        "bbd144b3e5565108aad885f145491d11bc6ce807",
        "694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81",
    ),
    "timm/resnet34.tv_in1k": (
        "1b7b21cca82ff974d341713f777bf740c2db38c4",
        "0bb82595a564991a9d424708b33f5d843f5aaed7f6c0886ff10849ff97022235",
    ),
    "timm/resnet50.tv_in1k": (
        "78f3ecfdb38e06d9b8397f662e7ab8fee96026fa",
        "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
    ),
    "timm/vgg16.tv_in1k": (
        "b8d8aa2dd860af9233c8c67385a8097fd6c35d3f",
        "57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8",
    ),
}


@dataclasses.dataclass(frozen=True)
class Fetched:
    """A file of the hub in its local cache.

    Attributes:
      path: of the file.
      revision: the commit that it is of.
      sha256: of its content.
    """

    path: Path
    revision: str
    sha256: str


class _UnavailableError(Exception):
    """A file that cannot be had; its text says why, and `error` is what the library raised."""

    def __init__(self, why: str, error: Exception | None = None):
        super().__init__(why)
        self.error = error


def _reason(error: Exception) -> str:
    """The first line of what went wrong; under "offline" the hub's library has many."""
    line = next((line for line in str(error).splitlines() if line.strip()), "").strip()
    return f"{type(error).__name__}: {line[:120]}" if line else type(error).__name__


def _library() -> Any:
    try:
        # Only those who name weights on the hub need it.
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        why = "a name on the hub needs huggingface_hub, which is not installed"
        raise _UnavailableError(why, error) from error


def _cached(hub: Any, name: str, filename: str, revision: str) -> Path | None:
    try:
        return Path(
            hub.hf_hub_download(name, filename, revision=revision or None, local_files_only=True)
        )
    # Absent, or a name that can be none: whatever the reason, it is not there.
    except Exception:
        return None


def _had(
    name: str, filename: str, revision: str, *, most_bytes: int | None = None
) -> tuple[Path, str]:
    """A file in the cache, downloaded where need be, and the sha256 that the hub states for it.

    Raises:
      _UnavailableError: it cannot be had, or the hub says that it is larger than `most_bytes`.
    """
    hub = _library()
    commit = re.fullmatch(r"[0-9a-f]{40}", revision)
    if commit and (path := _cached(hub, name, filename, revision)):
        return path, ""
    try:
        # Asked before the download, which without a network would try again for half a minute.
        url = hub.hf_hub_url(name, filename, revision=revision or None)
        stated = hub.get_hf_file_metadata(url, timeout=_TIMEOUT)
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", 500)
        if status < 500:
            raise _UnavailableError(
                f"the hub does not give it ({_reason(error)})", error
            ) from error
        if path := _cached(hub, name, filename, revision):
            return path, ""
        why = f"not in the hub's cache, and the hub cannot be reached ({_reason(error)})"
        raise _UnavailableError(why, error) from error
    if most_bytes is not None and (stated.size or 0) > most_bytes:
        raise _UnavailableError(
            f"{filename} has {stated.size} bytes, more than the {most_bytes} it may"
        )
    try:
        # By the revision, not by its commit: the cache then knows the revision when there is no network.
        path = Path(
            hub.hf_hub_download(name, filename, revision=revision or None, etag_timeout=_TIMEOUT)
        )
    # A connection lost, a full disk, a cache that is not ours: the library has an exception for each.
    except Exception as error:
        raise _UnavailableError(f"its download failed ({_reason(error)})", error) from error
    return path, stated.etag or ""


def _checked(path: Path, stated: str, expected: str) -> str:
    """The sha256 of a file from the cache, compared with what it must be, as far as that is known."""
    # The cache is snapshots/COMMIT/FILE, a link to blobs/ETAG where links can be made; the tag of a
    # large file is its sha256, that of a small one another hash.
    tags = [tag for tag in (path.resolve().name, stated) if re.fullmatch(r"[0-9a-f]{64}", tag)]
    return safetensors.check_sha256(path, expected or (tags[0] if tags else ""))


def fetch(name: str, *, revision: str = "", sha256: str = "", filename: str = _FILE) -> Fetched:
    """A file of a repository, downloaded once and then from the hub's own cache.

    The content is checked against `sha256` where it is given, else against the pinned one, else against
    the checksum that the hub itself states for the file.

    Args:
      name: such as "timm/resnet34.tv_in1k"; "hf://" may stand before it.
      revision: a commit, tag or branch; "" is the pinned commit where there is one, else the newest.
      sha256: expected checksum.
      filename: which file.

    Raises:
      InputError: it cannot be had, and says which file to fetch elsewhere and how to name it here; or
        it is another than was expected.
    """
    name = name.removeprefix("hf://")
    if not revision and filename == _FILE and name in PINNED:
        revision, pinned = PINNED[name]
        sha256 = sha256 or pinned
    try:
        path, stated = _had(name, filename, revision)
    except _UnavailableError as error:
        raise InputError(
            f"transfer.weights = {name!r}: no such file or folder here, and {error}\n"
            f"fetch https://huggingface.co/{name}/resolve/{revision or 'main'}/{filename} elsewhere and"
            " give it as --config.transfer.weights=FILE"
        ) from error
    try:
        found = _checked(path, stated, sha256)
    except InputError as error:
        raise InputError(
            f"{error}\nremove it to have it downloaded again; --config.transfer.revision=main takes the"
            " newest, checked against what the hub itself states"
        ) from error
    return Fetched(path, path.parent.name, found)


# A path joins the two slashes to one.
_NAME = re.compile(r"hf:/{1,2}(?P<name>[^/@]+/[^/@]+)(@(?P<revision>.+))?", re.DOTALL)
_PART = re.compile(r"[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]{0,199}", re.ASCII)
_ADVICE = {
    "GatedRepoError": "gated: accept its terms on https://huggingface.co/{name}, and log in (hf auth"
    " login, or the variable HF_TOKEN)",
    "RevisionNotFoundError": "it has no branch, tag or commit {revision!r}",
    "EntryNotFoundError": "no bundle: it has no {filename}",
    "RepositoryNotFoundError": "no such repository on the hub, or a private one: check the name, or log"
    " in (hf auth login, or the variable HF_TOKEN)",
}


@dataclasses.dataclass(frozen=True)
class Repository:
    """A repository of the hub, at one revision.

    Attributes:
      name: owner/name.
      revision: a branch, tag or commit; "" is the newest of the main branch.
    """

    name: str
    revision: str = ""

    def __str__(self) -> str:
        return f"hf://{self.name}" + f"@{self.revision}" * bool(self.revision)

    def download(self, filename: str, *, most_bytes: int) -> Fetched:
        """One of its files, downloaded once and then from the hub's own cache.

        Of a commit, without asking the hub; of a branch or tag from the cache where the hub cannot be
        reached. The content is checked against the checksum that the hub states for it.

        Args:
          filename: which.
          most_bytes: a larger file is not downloaded.

        Raises:
          InputError: it cannot be had; the one line says why and what to do.
        """
        try:
            path, stated = _had(self.name, filename, self.revision, most_bytes=most_bytes)
        except _UnavailableError as error:
            raise InputError(f"{self}: {self._why(filename, error)}") from error
        if (size := path.stat().st_size) > most_bytes:
            raise InputError(
                f"{self}: {filename} has {size} bytes, more than the {most_bytes} it may"
            )
        try:
            found = _checked(path, stated, "")
        except InputError as error:
            raise InputError(f"{error}; remove it to have it downloaded again") from error
        return Fetched(path, path.parent.name, found)

    def _why(self, filename: str, unavailable: _UnavailableError) -> str:
        kinds = {kind.__name__ for kind in type(unavailable.error).__mro__}
        response = getattr(unavailable.error, "response", None)
        for kind, advice in _ADVICE.items():
            if kind in kinds and response is not None:
                return advice.format(name=self.name, revision=self.revision, filename=filename)
        if "cannot be reached" in str(unavailable):
            return (
                f"{unavailable}; have it downloaded elsewhere (hf download {self.name} --local-dir DIR)"
                " and name the folder"
            )
        return str(unavailable)


def is_name(text: str) -> bool:
    """Whether a model's name is of the hub: hf://owner/name, perhaps with @revision."""
    return text.startswith("hf:/")


def repository(text: str) -> Repository:
    """The repository that hf://owner/name[@revision] names.

    Raises:
      InputError: it is no such name.
    """
    match = _NAME.fullmatch(text)
    parts = match["name"].split("/") if match else []
    revision = (match["revision"] or "") if match else ""
    fine = parts and all(map(_PART.fullmatch, parts)) and ".." not in f"{text}"
    if not fine or (revision and not _REVISION.fullmatch(revision)):
        raise InputError(
            f"{text[:120]!r}: no name on the hub; expected hf://OWNER/NAME, or hf://OWNER/NAME@REVISION"
            " with a branch, tag or commit"
        )
    return Repository("/".join(parts), revision)
