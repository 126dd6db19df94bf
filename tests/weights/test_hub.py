import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest

from ageflax.errors import InputError
from ageflax.weights import hub

COMMIT = "0123456789" * 4
CONTENT = b"some weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class AnswerError(Exception):
    """An error with a response, as raised by the hub's library."""

    def __init__(self, status, text="Repository Not Found.\n\nMany more\nlines."):
        super().__init__(text)
        self.response = types.SimpleNamespace(status_code=status)


class Library(types.ModuleType):
    """Stands in for huggingface_hub, with a cache on disk and scripted answers."""

    def __init__(self, cache: Path):
        super().__init__("huggingface_hub")
        self.cache, self.etag, self.error, self.broken, self.calls = cache, SHA256, None, None, []

    def put(self, content=CONTENT, tag=SHA256):
        """Fills the cache like a download."""
        blob = self.cache / "blobs" / tag
        link = self.cache / "snapshots" / COMMIT / "model.safetensors"
        for path in (blob, link):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link.unlink(missing_ok=True)
        link.symlink_to(blob)
        return link

    def hf_hub_url(self, name, filename, *, revision):
        return f"{name}/resolve/{revision or 'main'}/{filename}"

    def get_hf_file_metadata(self, url, *, timeout):
        self.calls.append(url)
        assert timeout <= 10
        if self.error is not None:
            raise self.error
        return types.SimpleNamespace(commit_hash=COMMIT, etag=self.etag)

    def hf_hub_download(
        self, name, filename, *, revision, local_files_only=False, etag_timeout=None
    ):
        self.calls.append((name, revision, local_files_only))
        link = self.cache / "snapshots" / COMMIT / filename
        if local_files_only:
            if revision not in (None, "main", COMMIT) or not link.exists():
                raise FileNotFoundError("not in the cache")
            return str(link)
        if self.broken is not None:
            raise self.broken
        return str(link if link.exists() else self.put())


@pytest.fixture
def library(tmp_path, monkeypatch):
    library = Library(tmp_path)
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    return library


def unavailable(*args, **kwargs) -> hub.UnavailableError:
    with pytest.raises(hub.UnavailableError) as caught:
        hub.fetch(*args, **kwargs)
    return caught.value


def refused(*args, **kwargs) -> str:
    with pytest.raises(InputError) as caught:
        hub.fetch(*args, **kwargs)
    message = str(caught.value)
    assert len(message.splitlines()) <= 3
    return message


@pytest.mark.parametrize("name", ["timm/some", "hf://timm/some"])
def test_a_file_comes_with_its_commit_and_checksum(library, name):
    fetched = hub.fetch(name)
    assert fetched.path.read_bytes() == CONTENT
    assert fetched.revision == COMMIT
    assert fetched.sha256 == SHA256
    assert library.calls == ["timm/some/resolve/main/model.safetensors", ("timm/some", None, False)]


def test_a_commit_in_the_cache_is_not_asked_about(library):
    library.put()
    assert hub.fetch("timm/some", revision=COMMIT).sha256 == SHA256
    assert library.calls == [("timm/some", COMMIT, True)]


@pytest.mark.parametrize("error", [ConnectionError("no route"), AnswerError(503), TimeoutError()])
def test_the_cache_serves_where_the_hub_cannot_be_reached(library, error):
    library.put()
    library.error = error
    assert hub.fetch("timm/some").revision == COMMIT


@pytest.mark.parametrize("error", [ConnectionError("no route"), AnswerError(503), TimeoutError()])
def test_without_either_the_message_says_what_to_fetch_and_where_to_put_it(library, error):
    library.error = error
    message = refused("timm/some", revision="v2")
    assert "cannot be reached" in message
    assert type(error).__name__ in message
    assert "https://huggingface.co/timm/some/resolve/v2/model.safetensors" in message
    assert "--config.transfer.weights=FILE" in message


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_the_hub_refuses_is_refused_even_if_it_is_in_the_cache(library, status):
    library.put()
    library.error = AnswerError(status)
    message = refused("timm/some")
    assert "the hub does not give it (AnswerError: Repository Not Found.)" in message
    assert "https://huggingface.co/timm/some/resolve/main/model.safetensors" in message


def test_a_download_that_fails_says_why(library):
    library.broken = OSError(28, "No space left on device")
    assert "No space left on device" in refused("timm/some")


def test_a_given_checksum_outranks_the_hubs(library):
    assert f"sha256 is {SHA256}, not {'0' * 64}" in refused("timm/some", sha256="0" * 64)
    library.etag = "f" * 64
    assert hub.fetch("timm/some", sha256=SHA256).sha256 == SHA256


def test_the_hubs_checksum_is_held_against_a_damaged_download(library):
    library.put(b"damaged")
    message = refused("timm/some")
    assert f"not {SHA256}" in message
    assert "remove it to download it again" in message


def test_the_cache_itself_knows_the_checksum_of_a_large_file(library):
    library.put(b"damaged")
    library.error = ConnectionError()
    assert f"not {SHA256}" in refused("timm/some")


def test_where_the_cache_has_no_links_the_hubs_answer_is_compared(library):
    link = library.put()
    link.unlink()
    link.write_bytes(b"damaged")
    assert f"not {SHA256}" in refused("timm/some")


def test_a_small_files_tag_is_no_sha256_and_is_not_compared(library):
    library.put(tag="a" * 40)
    library.etag = "a" * 40
    assert hub.fetch("timm/some").sha256 == SHA256


def test_well_known_weights_are_pinned_unless_a_revision_is_asked_for(library):
    name = "timm/resnet34.tv_in1k"
    commit, pinned = hub.PINNED[name]
    assert f"not {pinned}" in refused(name)
    assert library.calls[1] == f"{name}/resolve/{commit}/model.safetensors"
    assert hub.fetch(name, revision="main").sha256 == SHA256
    assert hub.fetch(name, sha256=SHA256).sha256 == SHA256


@pytest.mark.parametrize("pin", hub.PINNED.values())
def test_pins_are_commits_and_checksums(pin):
    assert [len(part) for part in pin] == [40, 64]
    assert all(set(part) <= set("0123456789abcdef") for part in pin)


def test_without_the_library_the_message_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    message = refused("timm/some")
    assert "huggingface_hub, which is not installed" in message
    assert "https://huggingface.co/timm/some/resolve/main/model.safetensors" in message


def test_the_error_names_the_repository_and_the_reason_alone(library, monkeypatch):
    library.error = ConnectionError("no route")
    error = unavailable("hf://timm/some")
    assert (error.name, error.reached) == ("timm/some", False)
    assert error.why == (
        "not in the hub's cache, and the hub cannot be reached (ConnectionError: no route)"
    )
    library.error = AnswerError(404)
    error = unavailable("timm/some")
    assert (error.name, error.reached) == ("timm/some", True)
    assert error.why == "the hub does not give it (AnswerError: Repository Not Found.)"
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    error = unavailable("timm/some")
    assert error.why == "a name on the hub needs huggingface_hub, which is not installed"


class _Hub(http.server.BaseHTTPRequestHandler):
    """Answers like the hub about one file of one repository."""

    def _answer(self, *, body: bool) -> None:
        known = self.path in (
            f"/timm/some/resolve/{revision}/model.safetensors" for revision in ("main", COMMIT)
        )
        content = CONTENT if known else b"{}"
        self.send_response(200 if known else 404)
        if known:
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("ETag", f'"{self.server.etag}"')  # type: ignore[attr-defined]
        else:
            self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def log_message(self, format, *args):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    server.etag = SHA256  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


_FETCH_ALL = """
import json, sys
from ageflax.errors import InputError
from ageflax.weights import hub
for name in sys.argv[1:]:
    try:
        fetched = hub.fetch(name)
        print(json.dumps([fetched.path.read_text(), fetched.revision, fetched.sha256]))
    except InputError as error:
        print(json.dumps(str(error)))
"""


def fetch_with_the_library(home: Path, *names: str, **environment: str) -> list:
    """Outcome of each name, in a separate process because the library reads its settings once."""
    pytest.importorskip("huggingface_hub")
    dropped = ("HF_", "HUGGING", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    clean = {k: v for k, v in os.environ.items() if not k.upper().startswith(dropped)}
    run = subprocess.run(
        [sys.executable, "-c", _FETCH_ALL, *names],
        cwd=Path(__file__).parents[2],
        env=clean | {"HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


def test_the_real_library_fetches_once_and_then_has_it_offline(server, tmp_path):
    address = f"http://127.0.0.1:{server.server_port}"
    expected = [CONTENT.decode(), COMMIT, SHA256]
    fetched, absent = fetch_with_the_library(
        tmp_path, "timm/some", "timm/absent", HF_ENDPOINT=address
    )
    assert fetched == expected
    assert "the hub does not give it (RepositoryNotFoundError" in absent
    (offline,) = fetch_with_the_library(tmp_path, "timm/some", HF_HUB_OFFLINE="1")
    assert offline == expected


def test_the_real_librarys_download_is_held_to_what_the_hub_states(server, tmp_path):
    server.etag = "e" * 64
    address = f"http://127.0.0.1:{server.server_port}"
    (message,) = fetch_with_the_library(tmp_path, "timm/some", HF_ENDPOINT=address)
    assert f"sha256 is {SHA256}, not {'e' * 64}" in message


@pytest.mark.parametrize(
    "environment", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}]
)
def test_the_real_library_without_a_network_does_not_try_again(tmp_path, environment):
    """By default it tries six times with waits of up to eight seconds."""
    (message,) = fetch_with_the_library(tmp_path, "timm/some", **environment)
    assert "cannot be reached" in message
    assert "https://huggingface.co/timm/some/resolve/main/model.safetensors" in message
    assert len(message.splitlines()) == 2
