"""A minimal Hugging Face hub on the loopback, enough for huggingface_hub to download and upload files."""

import base64
import contextlib
import dataclasses
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass
class Hub:
    """Contents of the server.

    Attributes:
      files: content by (repository, commit, name).
      revisions: commits by (repository, branch or tag).
      gated: repositories that need a log-in.
      asked: (method, path) of each request, in order.
      address: URL of the server.
      private: whether each repository that was made is private, as asked.
    """

    files: dict[tuple[str, str, str], bytes] = dataclasses.field(default_factory=dict)
    revisions: dict[tuple[str, str], str] = dataclasses.field(default_factory=dict)
    gated: tuple[str, ...] = ()
    asked: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    address: str = ""
    private: dict[str, bool] = dataclasses.field(default_factory=dict)
    _large: dict[str, bytes] = dataclasses.field(default_factory=dict)

    def add(
        self, repository: str, folder: Path, *, commit: str, revisions: tuple[str, ...]
    ) -> None:
        """Publishes a folder's files as a commit, with branches and tags."""
        for path in folder.iterdir():
            self.files[repository, commit, path.name] = path.read_bytes()
        for revision in revisions:
            self.revisions[repository, revision] = commit

    def answer(self, path: str) -> tuple[int, str, str, bytes]:
        """Status, the hub's error code, commit, and content."""
        if "/resolve/" not in path:
            return 404, "", "", b""
        repository, _, rest = path.strip("/").partition("/resolve/")
        revision, filename = map(urllib.parse.unquote, rest.split("/", 1))
        if repository in self.gated:
            return 403, "GatedRepo", "", b""
        commits = {commit for other, commit, _ in self.files if other == repository}
        if not commits:
            return 404, "RepoNotFound", "", b""
        commit = revision if revision in commits else self.revisions.get((repository, revision))
        if commit is None:
            return 404, "RevisionNotFound", "", b""
        content = self.files.get((repository, commit, filename))
        if content is None:
            return 404, "EntryNotFound", commit, b""
        return 200, "", commit, content

    def take(self, path: str, body: bytes, *, token: str) -> Any:
        """Answer to an upload's requests, as JSON; None without a token."""
        if path.startswith("/large/"):  # an address of our own, which needs no token
            self._large[path.removeprefix("/large/")] = body
            return {}
        if not token:
            return None
        if path == "/api/validate-yaml":
            return {"warnings": [], "errors": []}
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            self.private[name] = asked.get("visibility") == "private" or bool(asked.get("private"))
            return {"url": f"{self.address}/{name}", "id": name}
        if "/preupload/" in path:
            modes = (
                {"path": one["path"], "shouldIgnore": False,
                 "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular"}
                for one in json.loads(body)["files"]
            )  # fmt: skip
            return {"files": list(modes)}
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.address}/large/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            return {"transfer": "basic", "objects": objects}
        repository, _, revision = path.removeprefix("/api/models/").partition("/commit/")
        commit = hashlib.sha1(body, usedforsecurity=False).hexdigest()
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                content = base64.b64decode(value["content"])
                self.files[repository, commit, value["path"]] = content
            elif line["key"] == "lfsFile":
                self.files[repository, commit, value["path"]] = self._large[value["oid"]]
        self.revisions[repository, revision] = commit
        url = f"{self.address}/{repository}/commit/{commit}"
        return {"success": True, "commitOid": commit, "commitUrl": url}


@contextlib.contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    """Runs the hub's server."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def _answer(self, *, body: bool) -> None:
            hub.asked.append((self.command, self.path))
            status, code, commit, content = hub.answer(self.path)
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            else:
                # The tag of a large file, such as weights, is its sha256.
                digest = hashlib.sha256(content).hexdigest()
                large = self.path.endswith(".safetensors")
                self.send_header("ETag", f'"{digest if large else digest[:40]}"')
                self.send_header("X-Repo-Commit", commit)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def _taken(self) -> None:
            hub.asked.append((self.command, self.path))
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            told = hub.take(self.path, body, token=self.headers.get("Authorization", ""))
            self.send_response(401 if told is None else 200)
            content = json.dumps(told).encode()
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_POST(self) -> None:
            self._taken()

        def do_PUT(self) -> None:
            self._taken()

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def run(script: str, *words: str, home: Path, **environment: str) -> list:
    """Runs a script in its own process, since the library reads its settings once; returns its lines of JSON.

    Args:
      script: Python text.
      words: arguments of the script.
      home: folder of the library's cache.
      environment: further environment variables.
    """
    dropped = ("HF_", "HUGGING", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    clean: Mapping[str, str] = {
        k: v for k, v in os.environ.items() if not k.upper().startswith(dropped)
    }
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=Path(__file__).parents[2],
        env={**clean, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
