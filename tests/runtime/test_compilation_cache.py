"""The compilation cache: a program compiled by one process is not compiled again by the next."""

import os
import stat
import sys
from pathlib import Path

import jax
import pytest

from ageflax.runtime import compilation_cache
from tests.support.hub_server import run

COUNT = """
import collections, json
import jax
counts = collections.Counter()
jax.monitoring.register_event_listener(lambda name, **_: counts.update([name.rpartition("/")[2]]))
from ageflax.runtime import compilation_cache
folder = compilation_cache.enable()
answer = jax.jit(lambda x: x @ x.T)(jax.numpy.ones((8, 8)))[0, 0].item()
print(json.dumps([folder and str(folder), counts["cache_misses"], counts["cache_hits"], answer]))
"""


def start(home: Path, **environment: str) -> list:
    """Folder, programs compiled, programs taken from the cache, and the answer, of a new process."""
    own = {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / "caches"),
        "JAX_COMPILATION_CACHE_DIR": "",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "1.0",  # JAX's own, not the tests'
    }
    (found,) = run(COUNT, home=home, **{**own, **environment})
    return found


def test_the_second_process_compiles_nothing(tmp_path):
    folder, compiled, taken, answer = start(tmp_path)
    assert compiled > 0
    assert (taken, answer) == (0, 8.0)
    assert Path(folder).parent == tmp_path / "caches" / "ageflax" / "xla"
    if os.name == "posix":
        assert stat.S_IMODE(Path(folder).stat().st_mode) == 0o700
    assert start(tmp_path) == [folder, 0, compiled, 8.0]


def test_a_variable_names_another_folder_or_none(tmp_path):
    other = str(tmp_path / "other")
    assert start(tmp_path, AGEFLAX_COMPILATION_CACHE=other)[0] == other
    assert any(Path(other).iterdir())
    assert start(tmp_path, AGEFLAX_COMPILATION_CACHE="") == [None, 0, 0, 8.0]
    assert not (tmp_path / "caches").exists()


class Config:
    """Stands in for jax.config, which all tests of a process share."""

    def __init__(self):
        self.values = {"jax_compilation_cache_dir": None}
        self.changed = {}

    def update(self, name, value):
        self.changed[name] = value


@pytest.fixture
def settings(monkeypatch, tmp_path):
    """JAX's settings, of which none is made, and a home of one's own."""
    config = Config()
    monkeypatch.setattr(jax, "config", config)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("AGEFLAX_COMPILATION_CACHE", raising=False)
    return config


def test_what_jax_was_told_stays(settings):
    settings.values["jax_compilation_cache_dir"] = "/of/the/user"
    assert compilation_cache.enable() == Path("/of/the/user")
    assert settings.changed == {}


def test_a_folder_that_cannot_be_made_is_done_without(settings, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", tmp_path / "file" / "in", "x" * 5000):
        monkeypatch.setenv("AGEFLAX_COMPILATION_CACHE", str(place))
        assert compilation_cache.enable() is None
    assert settings.changed == {}


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_a_folder_that_others_write_to_is_not_run_from(settings, monkeypatch, tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv("AGEFLAX_COMPILATION_CACHE", str(shared))
    for mode, expected in ((0o777, None), (0o770, None), (0o755, shared), (0o700, shared)):
        shared.chmod(mode)
        assert compilation_cache.enable() == expected
    assert settings.changed["jax_compilation_cache_dir"] == str(shared)


def test_a_user_without_a_home_has_none(settings, monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", home)
    assert compilation_cache.enable() is None
    assert settings.changed == {}


@pytest.mark.parametrize(
    ("platform", "end"),
    [("linux", ".cache/ageflax/xla"), ("darwin", "Library/Caches/ageflax/xla"),
     ("win32", "AppData/Local/ageflax/xla")],
)  # fmt: skip
def test_it_lies_where_the_system_wants_caches(platform, end, monkeypatch):
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    assert compilation_cache.default_folder().parent == Path.home() / end
