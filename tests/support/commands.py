"""Commands of Markdown files and configs' headers: in blocks, and inline with their arguments."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("ageflax", "configs", "pipelines", "tests", "tfds_builders")
READMES = [ROOT / "README.md", *(p for f in FOLDERS for p in sorted((ROOT / f).rglob("README.md")))]
DOCUMENTS = [*READMES, *sorted((ROOT / ".github").glob("*.md"))]
CONFIGS = sorted((ROOT / "configs").glob("*.py"))

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:\w+=\S+ )*(?:uv run|python -m|ageflax|tfds|pip|\.ci/)[^`]*)`")
_BETWEEN = re.compile(r"[|&;(){}]+")


def blocks(document: Path, language: str) -> list[str]:
    """Contents of the fenced blocks in one language; commands have none."""
    return [text for found, text in _BLOCK.findall(document.read_text()) if found == language]


def _split(line: str) -> Iterator[list[str]]:
    """Words of each command of a line; comments and files that output goes to are left out."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;(){}>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if word == ">":
            next(lexer)
        elif not _BETWEEN.fullmatch(word):
            words.append(word)
            continue
        elif words:
            yield words
            words = []
    if words:
        yield words


def _inner(words: list[str]) -> Iterator[list[str]]:
    """A command, or the commands that it passes on in one word."""
    if words[0] == "ssh_all" and len(words) == 2:
        passed = words[1]
    elif words[0] == "sbatch" and "--wrap" in words:
        passed = words[words.index("--wrap") + 1]
    else:
        yield words
        return
    yield words[:1]
    yield from _split(passed)


def _plain(words: list[str]) -> list[str]:
    """Words without variables in front and without the brackets of what may be left out."""
    while "=" in words[0] and words[0].split("=")[0].isupper():
        words = words[1:]
    return [word[1:-1] if word.startswith("[") and word.endswith("]") else word for word in words]


def commands(document: Path) -> list[list[str]]:
    """Words of every fenced command of a document."""
    found = []
    for text in blocks(document, ""):
        joined = text.replace("\\\n", " ")
        # A quoted word may span lines.
        for line in re.findall(r"(?:'[^']*'|\"[^\"]*\"|#[^\n]*|[^\n])+", joined):
            for words in _split(line):
                found += [_plain(inner) for inner in _inner(words)]
    return found


def indented_commands(document: Path) -> list[list[str]]:
    """Words of every indented command of ours: in a Markdown file, or in a config's header."""
    text = document.read_text()
    text = ast.get_docstring(ast.parse(text)) or "" if document.suffix == ".py" else text
    joined = _BLOCK.sub("", text).replace("\\\n", " ")
    lines = re.findall(r"^ {4}((?:uv run|python -m|\.ci/) .*)", joined, re.MULTILINE)
    # One with a variable of the shell is not whole.
    return [_plain(words) for line in lines if "$" not in line for words in _split(line)]


def inline_commands(document: Path) -> list[list[str]]:
    """Words of every command in backquotes that has arguments."""
    text = _BLOCK.sub("", document.read_text())
    found = [_plain(shlex.split(" ".join(match.split()))) for match in _INLINE.findall(text)]
    # Shorter ones are names alone.
    least = {"tfds": 2, "ageflax": 3}
    return [words for words in found if len(without_uv(words)) >= least.get(words[0], 4)]


def without_uv(words: list[str]) -> list[str]:
    """A command without `uv run` and its options."""
    if words[:2] != ["uv", "run"]:
        return words
    rest = words[2:]
    while rest and rest[0].startswith("-"):
        rest = rest[1:] if "=" in rest[0] else rest[2:]
    return rest
