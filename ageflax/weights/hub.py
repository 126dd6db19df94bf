"""Downloads weights and whole bundles by their name on the Hugging Face hub, and uploads bundles."""

import dataclasses
import importlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ageflax.errors import InputError, first_line
from ageflax.weights.formats import safetensors

_FILE = "model.safetensors"
_TIMEOUT = 10.0  # seconds to wait for the hub's first answer

# Default commit and sha256 of model.safetensors, to make a name mean the same weights tomorrow:
# torchvision's IMAGENET1K_V1 in timm's copies. Other public projects pin the same values. A file that
# differs is refused; an explicit revision is checked against the hub's own checksum instead.
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
      path: the file.
      revision: commit of the file.
      sha256: checksum of its content.
    """

    path: Path
    revision: str
    sha256: str


class UnavailableError(InputError):
    """A file of the hub is neither in its cache nor can be downloaded.

    Attributes:
      name: the repository asked for.
      why: reason, a phrase without the name and without advice.
      reached: False if the hub did not answer.
    """

    def __init__(self, name: str, why: str, *, reached: bool = True, message: str = ""):
        super().__init__(message or f"{name}: {why}")
        self.name, self.why, self.reached = name, why, reached

    def saying(self, message: str) -> "UnavailableError":
        """The same error with another message."""
        return UnavailableError(self.name, self.why, reached=self.reached, message=message)


def _reason(error: Exception) -> str:
    """Type and first line of an error of the hub's library, whose texts have many lines."""
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind}: {line[:120]}"


def _library(name: str) -> Any:
    try:
        # Imported only for a name on the hub.
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        why = "a name on the hub needs huggingface_hub, which is not installed"
        raise UnavailableError(name, why) from error


def _too_large(filename: str, size: int, most_bytes: int) -> str:
    return f"{filename} has {size} bytes, more than the limit of {most_bytes}"


def _cached(hub: Any, name: str, filename: str, revision: str) -> Path | None:
    try:
        return Path(
            hub.hf_hub_download(name, filename, revision=revision or None, local_files_only=True)
        )
    # Absent, or an impossible name: in any case not there.
    except Exception:
        return None


def _located(
    name: str, filename: str, revision: str, *, most_bytes: int | None = None
) -> tuple[Path, str]:
    """Finds a file in the cache or downloads it; gives its path and the sha256 that the hub states.

    Raises:
      UnavailableError: neither works, or the hub states a size above `most_bytes`.
    """
    hub = _library(name)
    commit = re.fullmatch(r"[0-9a-f]{40}", revision)
    if commit and (path := _cached(hub, name, filename, revision)):
        return path, ""
    try:
        # Before the download, which retries for half a minute without a network.
        url = hub.hf_hub_url(name, filename, revision=revision or None)
        stated = hub.get_hf_file_metadata(url, timeout=_TIMEOUT)
    except Exception as error:
        status = getattr(getattr(error, "response", None), "status_code", 500)
        if status < 500:
            why = f"the hub does not give it ({_reason(error)})"
            raise UnavailableError(name, why) from error
        if path := _cached(hub, name, filename, revision):
            return path, ""
        why = f"not in the hub's cache, and the hub cannot be reached ({_reason(error)})"
        raise UnavailableError(name, why, reached=False) from error
    if most_bytes is not None and (stated.size or 0) > most_bytes:
        raise UnavailableError(name, _too_large(filename, stated.size, most_bytes))
    try:
        # By revision, not by commit: the cache then knows the revision without a network.
        path = Path(
            hub.hf_hub_download(name, filename, revision=revision or None, etag_timeout=_TIMEOUT)
        )
    # A lost connection, a full disk, a cache of somebody else's: the library has an exception for each.
    except Exception as error:
        raise UnavailableError(name, f"its download failed ({_reason(error)})") from error
    return path, stated.etag or ""


def _checked(path: Path, stated: str, expected: str, *, advice: str) -> Fetched:
    """Checks the sha256 of a file in the cache: against the expected, else the stated one, if any."""
    # The cache is snapshots/COMMIT/FILE, a link to blobs/ETAG where links can be made. The tag of a
    # large file is its sha256, the tag of a small one is another hash.
    tags = [tag for tag in (path.resolve().name, stated) if re.fullmatch(r"[0-9a-f]{64}", tag)]
    try:
        found = safetensors.check_sha256(path, expected or (tags[0] if tags else ""))
    except InputError as error:
        raise InputError(f"{error}{advice}") from error
    return Fetched(path, path.parent.name, found)


def fetch(name: str, *, revision: str = "", sha256: str = "", filename: str = _FILE) -> Fetched:
    """Downloads a file of a repository once; later calls find it in the hub's own cache.

    The content is checked against `sha256` if given, else against the pinned checksum, else against the
    checksum that the hub states.

    Args:
      name: repository such as "timm/resnet34.tv_in1k"; "hf://" before it is optional.
      revision: a commit, tag or branch; "" is the pinned commit if there is one, else the newest.
      sha256: expected checksum.
      filename: path of the file in the repository.

    Raises:
      UnavailableError: neither cached nor downloadable; the message gives the file's URL.
      InputError: the checksum differs.
    """
    name = name.removeprefix("hf://")
    if not revision and filename == _FILE and name in PINNED:
        revision, pinned = PINNED[name]
        sha256 = sha256 or pinned
    try:
        path, stated = _located(name, filename, revision)
    except UnavailableError as error:
        message = (
            f"transfer.weights = {name!r}: no such file or folder, and {error.why}\n"
            f"download https://huggingface.co/{name}/resolve/{revision or 'main'}/{filename} elsewhere"
            " and pass --config.transfer.weights=FILE"
        )
        raise error.saying(message) from error
    advice = (
        "\nremove it to download it again, or take the newest, checked against the hub's own checksum,"
        " with --config.transfer.revision=main"
    )
    return _checked(path, stated, sha256, advice=advice)


_PART = r"[A-Za-z0-9][\w.-]{0,95}"
_REVISION = r"[A-Za-z0-9][\w./-]{0,199}"
# One slash after "hf:" if a Path was made of the name.
_NAME = re.compile(rf"hf:/{{1,2}}({_PART}/{_PART})(?:@({_REVISION}))?", re.ASCII)
_ADVICE = {
    "GatedRepoError": "gated: accept its terms on https://huggingface.co/{name}, and log in (hf auth"
    " login, or the variable HF_TOKEN)",
    "RevisionNotFoundError": "it has no branch, tag or commit {revision!r}",
    "EntryNotFoundError": "not a bundle: it has no {filename}",
    "RepositoryNotFoundError": "no such repository on the hub, or a private one: check the name, or log"
    " in (hf auth login, or the variable HF_TOKEN)",
}


@dataclasses.dataclass(frozen=True)
class Repository:
    """A repository of the hub at one revision.

    Attributes:
      name: "owner/name".
      revision: a branch, tag or commit; "" is the newest of the main branch.
    """

    name: str
    revision: str = ""

    def __str__(self) -> str:
        return f"hf://{self.name}" + f"@{self.revision}" * bool(self.revision)

    def download(self, filename: str, *, most_bytes: int) -> Fetched:
        """Downloads one of its files once; later calls find it in the hub's own cache.

        A commit in the cache is used without asking the hub, a branch or tag only if the hub does not
        answer. The content is checked against the checksum that the hub states.

        Args:
          filename: path of the file in the repository.
          most_bytes: limit; a larger file is not downloaded.

        Raises:
          UnavailableError: neither cached nor downloadable, or too large; the message is one line.
          InputError: the checksum differs.
        """
        try:
            path, stated = _located(self.name, filename, self.revision, most_bytes=most_bytes)
            if (size := path.stat().st_size) > most_bytes:
                raise UnavailableError(self.name, _too_large(filename, size, most_bytes))
        except UnavailableError as error:
            raise error.saying(f"{self}: {self._advice(filename, error)}") from error
        return _checked(path, stated, "", advice="; remove it to download it again")

    def _advice(self, filename: str, error: UnavailableError) -> str:
        cause = error.__cause__
        kinds = {kind.__name__ for kind in type(cause).__mro__}
        if getattr(cause, "response", None) is not None:
            for kind, advice in _ADVICE.items():
                if kind in kinds:
                    return advice.format(name=self.name, revision=self.revision, filename=filename)
        if error.reached:
            return error.why
        return (
            f"{error.why}; download it elsewhere (hf download {self.name} --local-dir DIR) and name the"
            " folder"
        )


def upload(folder: Path, to: str, filenames: Sequence[str], *, message: str, **options: Any) -> str:
    """Uploads files to a repository, which is made if it is absent; returns the commit's URL.

    Args:
      folder: folder of the files.
      to: "owner/name"; "hf://" before it is optional.
      filenames: names of the files.
      message: message of the commit.
      **options: `private`, for a repository that is made; `revision`, a branch that exists.

    Raises:
      UnavailableError: the hub refuses it or cannot be reached; the message is one line.
      InputError: the name is none.
    """
    name = repository(f"hf://{to.removeprefix('hf://')}").name
    hub = _library(name)
    try:
        hub.create_repo(name, private=options.get("private"), exist_ok=True)
        done = hub.upload_folder(
            folder_path=folder,
            repo_id=name,
            revision=options.get("revision"),
            allow_patterns=list(filenames),
            commit_message=message,
        )
    # Not logged in, no right to write, no network: the library has an exception for each.
    except Exception as error:
        advice = "to log in: hf auth login, or the variable HF_TOKEN with a token that may write"
        text = f"hf://{name}: the hub does not take it ({_reason(error)}); {advice}"
        raise UnavailableError(name, _reason(error), message=text) from error
    return done.commit_url


def is_bare_name(text: str) -> bool:
    """True for owner/name, as the hub's own libraries name a repository."""
    return re.fullmatch(f"{_PART}/{_PART}", text, re.ASCII) is not None


def is_name(text: str) -> bool:
    """True if a model's name is on the hub: hf://owner/name, perhaps with @revision."""
    return text.startswith("hf:/")


def repository(text: str) -> Repository:
    """Parses hf://owner/name[@revision].

    Raises:
      InputError: the text has another form.
    """
    match = _NAME.fullmatch(text)
    if not match or ".." in text:
        raise InputError(
            f"{text[:120]!r}: not a name on the hub; expected hf://OWNER/NAME, or"
            " hf://OWNER/NAME@REVISION with a branch, tag or commit"
        )
    return Repository(match[1], match[2] or "")
