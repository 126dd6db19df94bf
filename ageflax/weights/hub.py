"""Weights by their name on the Hugging Face hub."""

import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any

from ageflax.errors import InputError
from ageflax.weights import files

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


def _refusal(name: str, filename: str, revision: str, why: str) -> InputError:
    return InputError(
        f"transfer.weights = {name!r}: no such file or folder here, and {why}\n"
        f"fetch https://huggingface.co/{name}/resolve/{revision or 'main'}/{filename} elsewhere and"
        " give it as --config.transfer.weights=FILE"
    )


def _reason(error: Exception) -> str:
    """The first line of what went wrong; under "offline" the hub's library has many."""
    line = next((line for line in str(error).splitlines() if line.strip()), "").strip()
    return f"{type(error).__name__}: {line[:120]}" if line else type(error).__name__


def _cached(hub: Any, name: str, filename: str, revision: str) -> Path | None:
    try:
        return Path(
            hub.hf_hub_download(name, filename, revision=revision or None, local_files_only=True)
        )
    # Absent, or a name that can be none: whatever the reason, it is not there.
    except Exception:
        return None


def _had(hub: Any, name: str, filename: str, revision: str) -> tuple[Path, str]:
    """A file in the cache, downloaded where need be, and the sha256 that the hub states for it."""
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
            why = f"the hub does not give it ({_reason(error)})"
            raise _refusal(name, filename, revision, why) from error
        if path := _cached(hub, name, filename, revision):
            return path, ""
        why = f"not in the hub's cache, and the hub cannot be reached ({_reason(error)})"
        raise _refusal(name, filename, revision, why) from error
    try:
        # By the revision, not by its commit: the cache then knows the revision when there is no network.
        path = Path(
            hub.hf_hub_download(name, filename, revision=revision or None, etag_timeout=_TIMEOUT)
        )
    # A connection lost, a full disk, a cache that is not ours: the library has an exception for each.
    except Exception as error:
        why = f"its download failed ({_reason(error)})"
        raise _refusal(name, filename, revision, why) from error
    return path, stated.etag or ""


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
        # Only those who name weights on the hub need it.
        hub = importlib.import_module("huggingface_hub")
    except ImportError as error:
        why = "a name on the hub needs huggingface_hub, which is not installed"
        raise _refusal(name, filename, revision, why) from error
    path, stated = _had(hub, name, filename, revision)
    # The cache is snapshots/COMMIT/FILE, a link to blobs/ETAG where links can be made; the tag of a
    # large file is its sha256, that of a small one another hash.
    tags = [tag for tag in (path.resolve().name, stated) if re.fullmatch(r"[0-9a-f]{64}", tag)]
    expected = sha256 or (tags[0] if tags else "")
    try:
        found = files.check_sha256(path, expected)
    except InputError as error:
        raise InputError(
            f"{error}\nremove it to have it downloaded again; --config.transfer.revision=main takes the"
            " newest, checked against what the hub itself states"
        ) from error
    return Fetched(path, path.parent.name, found)
