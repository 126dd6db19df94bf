"""The command: its options, errors and exit."""

import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from ageflax.demo import __main__ as command
from ageflax.demo import serving
from tests.support import default_model


def test_help_waits_for_nothing():
    program = (
        "import sys; sys.argv[1:] = ['--help']\n"
        "import runpy\n"
        "try: runpy.run_module('ageflax.demo', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "assert not {'jax', 'starlette', 'cv2', 'numpy'} & set(sys.modules), 'heavy'\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for word in ("--model", "--host", "--port", "--name", "/openapi.json", "130"):
        assert word in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["--port=70000"],
        ["--port=x"],
        ["--rate=60"],
        ["--max_megabytes=0"],
        ["--max_megabytes=nan"],
        ["--max_megapixels=1e9"],
        ["--unknown"],
        ["stray"],
    ],
)
def test_bad_words_are_told(words, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(["--model=x", *words])
    assert ended.value.code == 2
    line = capsys.readouterr().err
    assert line.startswith("ageflax.demo: ")
    assert line.count("\n") == 1


def said(capfd):
    return capfd.readouterr().err.strip()


def test_without_the_default_model_one_line_says_so(tmp_path, monkeypatch, capfd):
    default_model.use(tmp_path, monkeypatch)
    assert command.main(["--port=0"]) == 2
    line = said(capfd)
    assert line.startswith("ageflax.demo: default model: absent from this installation")
    assert "\n" not in line


@pytest.mark.parametrize("model", ["absent", ""])
def test_a_model_that_is_none(model, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.main([f"--model={model}", "--port=0"]) == 2
    assert said(capfd).startswith("ageflax.demo: ")


def test_without_the_extra_one_line_says_how_to_have_it(monkeypatch, capfd):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "starlette" else find(name)
    )
    assert command.main(["--model=x"]) == 2
    line = said(capfd)
    assert 'starlette not installed: pip install "ageflax[demo]"' in line
    assert "\n" not in line


def test_a_port_that_is_taken(fold, capfd):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert command.main([f"--model={fold}", f"--port={port}"]) == 2
    assert f"--port={port}" in (line := said(capfd))
    assert "--port=0" in line


def test_an_address_that_is_not_here(fold, capfd):
    assert command.main([f"--model={fold}", "--host=203.0.113.7", "--port=0"]) == 2
    assert "--host=203.0.113.7" in said(capfd)


def test_a_detector_that_is_none(fold, capfd):
    assert command.main([f"--model={fold}", "--detector=absent", "--port=0"]) == 2
    assert "--detector=absent" in said(capfd)


def test_loopback_is_told_from_the_rest():
    for host, loopback in (("127.0.0.1", True), ("0.0.0.0", False)):
        with serving._socket(host, 0) as made:
            assert serving._is_loopback(made) is loopback
            assert serving._address(made) == f"http://{host}:{made.getsockname()[1]}"


@pytest.fixture
def running(fold):
    """The command in its own process, open to other machines; killed if it still runs."""
    words = [sys.executable, "-m", "ageflax.demo", f"--model={fold}", "--detector=haar"]
    process = subprocess.Popen(
        [*words, "--host=0.0.0.0", "--port=0", "--max_megabytes=0.05"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    yield process
    process.kill()
    process.communicate()


def test_it_serves_until_ctrl_c(running, portrait):
    lines = []
    while not (found := re.search(r"http://0\.0\.0\.0:(\d+)  \(Ctrl-C ends it\)", "".join(lines))):
        line = running.stderr.readline()
        assert line, lines
        lines.append(line)
    assert any("without a password" in line for line in lines)
    address = f"http://127.0.0.1:{found[1]}"
    request = urllib.request.Request(f"{address}/faces", portrait)
    with urllib.request.urlopen(request, timeout=30) as response:
        assert len(json.load(response)["faces"]) == 1
    with pytest.raises(urllib.error.HTTPError, match="413"):
        urllib.request.urlopen(
            urllib.request.Request(f"{address}/faces", bytes(300_000)), timeout=30
        )
    # Also in the middle of a request.
    with socket.create_connection(("127.0.0.1", int(found[1]))) as idle:
        idle.sendall(b"POST /faces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx")
        running.send_signal(signal.SIGINT)
        _, rest = running.communicate(timeout=30)
    assert running.returncode == 130
    assert rest == "ageflax.demo: ended\n"
