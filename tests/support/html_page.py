"""A parsed HTML page, for tests of its content."""

from html.parser import HTMLParser
from pathlib import Path

_VOID = {"meta", "img", "br", "wbr", "link", "use", "path", "circle", "polygon"}


class Page(HTMLParser):
    """Tables as lists of rows, text by element, images, drawings and addresses; checks nesting."""

    def __init__(self, path: Path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.open: list[str] = []
        self._names: list[str] = []
        self.tags: list[str] = []
        self.tables: dict[str, list[list[list[str]]]] = {}
        self.texts: dict[str, list[str]] = {}
        self.images: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.drawings: list[str] = []
        self.unnamed: list[str] = []
        self._table: list[list[str]] = []
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        if tag == "img":
            self.images.append(given["src"] or "")
        self.addresses += [v or "" for k, v in attrs if k.split(":")[-1] in ("src", "href")]
        self.ids += [v or "" for k, v in attrs if k == "id"]
        if tag == "table":
            self._table = []
            self.tables.setdefault(given.get("class") or "", []).append(self._table)
        if tag == "tr":
            self._table.append([])
        if tag in ("td", "th"):
            self._table[-1].append("")
        if tag == "svg" and given.get("role") == "img":
            self.drawings.append(given.get("aria-label") or "")
        # Elements that a screen reader cannot name.
        if (tag == "th" and "scope" not in given) or (tag == "img" and not given.get("alt")):
            self.unnamed.append(tag)
        if given.get("role") in ("img", "region") and not given.get("aria-label"):
            self.unnamed.append(tag)
        if tag not in _VOID:
            self.open.append(tag)
            self._names.append(f"{tag}.{given['class']}" if given.get("class") else tag)
            self.texts.setdefault(self._names[-1], []).append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        name = self._names.pop()
        self.texts[name][-1] = " ".join(self.texts[name][-1].split())

    def handle_data(self, data):
        if self.open:
            self.texts[self._names[-1]][-1] += data
        if {"td", "th"} & set(self.open):
            self._table[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.source.split()).replace("\N{NO-BREAK SPACE}", " ").split())

    def assert_needs_nothing_else(self) -> None:
        """Asserts no external address, no script, unique ids, and a target for each link."""
        assert "link" not in self.tags and "script" not in self.tags
        assert all(address.startswith(("#", "data:")) for address in self.addresses)
        assert "@import" not in self.source and "url(http" not in self.source
        assert len(set(self.ids)) == len(self.ids)
        assert {a[1:] for a in self.addresses if a.startswith("#")} <= set(self.ids)
