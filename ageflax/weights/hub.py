"""Weights by their name on the Hugging Face hub."""

import dataclasses
from pathlib import Path

from ageflax.errors import InputError
from ageflax.weights import files

_FILE = "model.safetensors"


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


def fetch(name: str, *, revision: str = "", sha256: str = "") -> Fetched:
    """model.safetensors of a repository, downloaded once and then from the hub's own cache.

    The content is checked against `sha256` where it is given, else against the checksum that the hub
    itself states for the file.

    Args:
      name: such as "timm/resnet34.tv_in1k".
      revision: a commit, tag or branch; "" is the newest.
      sha256: expected checksum.

    Raises:
      InputError: it cannot be had; says which file to fetch elsewhere and how to name it here.
    """
    try:
        import huggingface_hub
    except ImportError as error:
        raise InputError(
            f"transfer.weights = {name!r}: names on the hub need huggingface_hub: pip install it,"
            " or give a .safetensors file"
        ) from error
    try:
        path = Path(
            huggingface_hub.hf_hub_download(
                name, _FILE, revision=revision or None, etag_timeout=10.0
            )
        )
    # Offline, unknown name, no permission, full disk: the hub has an exception for each.
    except Exception as error:
        first = str(error).strip().splitlines()[0][:160] if str(error).strip() else type(error).__name__
        raise InputError(
            f"transfer.weights = {name!r}: not in the cache, and the hub did not give it: {first}\n"
            f"fetch https://huggingface.co/{name}/resolve/{revision or 'main'}/{_FILE} elsewhere and"
            " give it as --config.transfer.weights=FILE"
        ) from error
    # The cache is snapshots/COMMIT/FILE, a link to blobs/ETAG; of a large file that is its sha256.
    stated = path.resolve().name
    expected = sha256 or (stated if len(stated) == 64 else "")
    return Fetched(path, path.parent.name, files.check_sha256(path, expected))
