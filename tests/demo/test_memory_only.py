"""Pictures reach neither disk nor log."""

import base64
import json
import sys
import tempfile

import pytest

_WRITES = {"w", "a", "x", "+"}
_watch: list[list[str]] = []


def _hook(event, arguments):
    if not _watch or event not in ("open", "os.rename", "os.mkdir", "tempfile.mkstemp"):
        return
    if event == "open":
        path, mode, flags = arguments
        if not _WRITES & set(mode or "") and not (isinstance(flags, int) and flags & 0o103):
            return
        if str(path) == "/dev/null":
            return
    _watch[0].append(f"{event}: {arguments}")


@pytest.fixture
def written():
    """Files that Python opens for writing during the test."""
    if not getattr(sys, "_ageflax_demo_hook", False):
        sys.addaudithook(_hook)  # cannot be removed again
        sys._ageflax_demo_hook = True  # type: ignore[attr-defined]
    found: list[str] = []
    _watch.append(found)
    yield found
    _watch.clear()


def test_the_watch_sees_writes(written, tmp_path):
    (tmp_path / "a").write_bytes(b"1")
    with tempfile.TemporaryFile():
        pass
    assert len(written) >= 2


def test_uploads_write_nothing_and_log_nothing(served, portrait, written, capfd, caplog):
    served.ask(body=portrait)  # compiles beforehand
    capfd.readouterr()
    written.clear()
    large = portrait + bytes(3_000_000)  # bytes after a JPEG's end are ignored
    listed = json.dumps({"images": [base64.b64encode(large).decode(), "secret text"]})
    assert served.ask(body=large).said["faces"]
    assert served.form(('name="image"; filename="secret.jpg"', large)).said["faces"]
    assert served.ask("/faces?stream=secret-camera", large).said["faces"]
    assert served.ask(body=listed, content_type="application/json").said["images"][0]["faces"]
    assert served.ask(body=b"secret text").status == 415
    assert written == []
    assert capfd.readouterr() == ("", "")
    assert caplog.text == ""
