"""Against a server on this machine; nothing here reaches the network."""

import hashlib
import http.server
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ageflax.errors import InputError, RunError
from tfds_builders.imdb_wiki import download

CONTENT = hashlib.shake_128(b"archive").digest(3_000_000)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Serves CONTENT.

    Attributes:
      ranges: True to serve parts.
      budget: bytes to send in each response before the connection breaks off, in order; then all.
      status: status of each response, in order; then success.
      asked: Range header of each request.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges = True
        self.budget: list[int] = []
        self.status: list[int] = []
        self.asked: list[str | None] = []

    def handle_error(self, request, client_address):
        pass  # a client that goes away, as on a full disk

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/wiki_crop.tar"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def log_message(self, format, *args):
        pass

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if self.server.status:
            return self.send_error(self.server.status.pop(0))
        start = 0
        if asked and self.server.ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(CONTENT):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        budget = self.server.budget.pop(0) if self.server.budget else len(CONTENT)
        self.wfile.write(CONTENT[start : start + budget])
        return None


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "_PAUSE_SECONDS", 0.0)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        monkeypatch.setitem(download.ADDRESSES, "wiki", running.url)
        monkeypatch.setitem(download.MD5, "wiki", hashlib.md5(CONTENT).hexdigest())
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "manual" / "wiki_crop.tar"


def names(path: Path) -> list[str]:
    return sorted(found.name for found in path.parent.iterdir())


def refusal(path: Path, kind: type[Exception] = InputError) -> str:
    with pytest.raises(kind) as caught:
        download.fetch("wiki", path)
    text = str(caught.value)
    assert "\n" not in text
    assert not path.exists()
    return text


def test_a_whole_download(server: Server, path: Path, capsys: pytest.CaptureFixture[str]):
    download.fetch("wiki", path)
    assert path.read_bytes() == CONTENT
    assert names(path) == ["wiki_crop.tar"]
    assert server.asked == [None]
    assert capsys.readouterr().err == (
        f"imdb_wiki: neither wiki_crop/ nor wiki_crop.tar is in {path.parent}: downloading "
        f"{server.url}\n"
    )


def test_a_part_is_gone_on_from(server: Server, path: Path):
    path.parent.mkdir()
    path.with_name("wiki_crop.tar.partial").write_bytes(CONTENT[:1_234_567])
    download.fetch("wiki", path)
    assert server.asked == ["bytes=1234567-"]
    assert path.read_bytes() == CONTENT
    assert names(path) == ["wiki_crop.tar"]


def test_a_part_that_was_the_whole(server: Server, path: Path):
    path.parent.mkdir()
    path.with_name("wiki_crop.tar.partial").write_bytes(CONTENT)
    download.fetch("wiki", path)
    assert server.asked == ["bytes=3000000-"]
    assert path.read_bytes() == CONTENT


def test_a_server_without_ranges_begins_again(server: Server, path: Path):
    server.ranges = False
    path.parent.mkdir()
    path.with_name("wiki_crop.tar.partial").write_bytes(b"x" * 1000)
    download.fetch("wiki", path)
    assert path.read_bytes() == CONTENT


def test_a_connection_that_breaks_off_now_and_then(server: Server, path: Path, capsys):
    server.budget = [100_000] * 12  # more often than it would be tried without any progress
    download.fetch("wiki", path)
    assert path.read_bytes() == CONTENT
    assert server.asked[:3] == [None, "bytes=100000-", "bytes=200000-"]
    said = capsys.readouterr().err
    assert "wiki_crop.tar: the connection ended after 100,000 of 3,000,000 bytes; resuming" in said


def test_a_connection_that_brings_nothing_any_more(server: Server, path: Path):
    server.budget = [100_000] + [0] * 20
    assert refusal(path) == (
        f"{server.url}: cannot be downloaded: the connection ended after 100,000 of 3,000,000 bytes; "
        f"run it again to resume, or download it by hand and put it into {path.parent}"
    )
    assert names(path) == ["wiki_crop.tar.partial"]
    server.budget = []
    download.fetch("wiki", path)
    assert path.read_bytes() == CONTENT


def test_a_server_in_trouble_is_asked_again(server: Server, path: Path):
    server.status = [503, 500]
    download.fetch("wiki", path)
    assert path.read_bytes() == CONTENT


def test_a_server_that_refuses(server: Server, path: Path):
    server.status = [404]
    assert refusal(path).startswith(
        f"{server.url}: cannot be downloaded: HTTP 404 Not Found; run it"
    )
    assert len(server.asked) == 1


def test_no_server(server: Server, path: Path, monkeypatch: pytest.MonkeyPatch):
    with socketserver.TCPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as closed:
        url = f"http://127.0.0.1:{closed.server_address[1]}/wiki_crop.tar"
    monkeypatch.setitem(download.ADDRESSES, "wiki", url)
    text = refusal(path)
    assert text.startswith(f"{url}: cannot be downloaded: ")
    assert "Connection refused" in text
    assert text.endswith(f"put it into {path.parent}")


def test_another_file_is_kept_as_damaged_and_never_used(
    server: Server, path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(download.MD5, "wiki", "0" * 32)
    assert refusal(path) == (
        f"{server.url}: md5 is {hashlib.md5(CONTENT).hexdigest()}, expected {'0' * 32}; damaged or "
        f"another file, kept as {path}.damaged but not used; run it again to download it anew"
    )
    assert names(path) == ["wiki_crop.tar.damaged"]


def test_a_full_disk(server: Server, path: Path):
    path.parent.mkdir()
    path.with_name("wiki_crop.tar.partial").symlink_to("/dev/full")
    assert refusal(path, RunError) == (
        f"{path}: cannot be written: No space left on device; the part is kept, run it again to resume"
    )


def test_a_folder_that_cannot_be_made(server: Server, path: Path):
    path.parent.write_text("a file")
    assert "wiki_crop.tar: cannot be written: File exists" in refusal(path, RunError)


def test_the_published_sums_and_addresses():
    assert download.ADDRESSES.keys() == download.MD5.keys()
    assert all(url.startswith("https://") for url in download.ADDRESSES.values())
    assert all(len(bytes.fromhex(md5)) == 16 for md5 in download.MD5.values())
