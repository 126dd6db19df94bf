"""JSON files: absent and damaged are told apart; folders are tried before they are used."""

import json

import pytest

from ageflax.errors import InputError, RunError, first_line
from ageflax.runtime import files

DAMAGE = {
    b"": r"Expecting value",
    b'{"steps": 5': r"Expecting ',' delimiter",
    b"not json": r"Expecting value",
    b"\xff\xfe": r"'utf-8' codec can't decode",
    b"[" * 100_000: r"brackets without end",
    b"9" * 10_000: r"Exceeds the limit",
    b"null": r"null",
}


@pytest.mark.parametrize("content", DAMAGE)
def test_a_damaged_file_is_one_line(tmp_path, content):
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as refused:
        files.read_json(path)
    line = str(refused.value)
    assert line.startswith(f"{path}: damaged JSON (")
    assert DAMAGE[content] in line
    assert line.endswith("); remove it or restore it")
    assert "\n" not in line and len(line) < 600
    with pytest.raises(InputError, match=r"; choose another$"):
        files.read_json(path, remedy="choose another")
    assert files.read_json_or(path, {}) == {}
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("~/runs/a", "/home/of/runs/a"),
        ("~", "/home/of"),
        ("runs/~/a", "runs/~/a"),
        ("~nobody_by_this_name.jpg", "~nobody_by_this_name.jpg"),
        ("hf://owner/name@v1", "hf://owner/name@v1"),
        ("C:/data", "C:/data"),
        ("", ""),
    ],
)
def test_a_path_on_this_machine(text, path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/of")
    assert files.local(text) == path


@pytest.mark.parametrize(
    "text", ["gs://bucket/run", "s3://b", "https://example.org/x", "file:///a"]
)
def test_an_address_is_no_path(text):
    with pytest.raises(
        InputError, match=rf"^{text}: an address, not a path on this machine; mount"
    ):
        files.local(text)


def test_an_absent_file_is_none(tmp_path):
    assert files.read_json(tmp_path / "config.json") is None
    assert files.read_json_or(tmp_path / "config.json", {}) == {}


@pytest.mark.parametrize("content", [{"a": [1, None]}, [], 0, False, "", "ä"])
def test_everything_else_is_read_back(tmp_path, content):
    path = tmp_path / "content.json"
    files.write_json(path, content)
    assert files.read_json(path) == content
    assert files.read_json_or(path, None) == content
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    assert files.read_json(path) == content


def test_a_writable_folder_is_made_and_left_empty(tmp_path):
    files.make_writable(tmp_path / "a" / "b", "--output")
    files.make_writable(tmp_path / "a" / "b", "--output")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_another_folder_is_refused_by_the_options_name(tmp_path):
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "run"
    with pytest.raises(InputError) as refused:
        files.make_writable(place, "--workdir")
    assert str(refused.value) == f"--workdir={place}: cannot be written: Not a directory"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("one\ntwo"), "one"),
        (ValueError("\n\n  one \ntwo"), "one "),
        (ValueError(), "ValueError"),
        (RunError(" \n "), "RunError"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
    ],
)
def test_the_first_line_of_an_error_is_never_empty(error, line):
    assert first_line(error) == line
