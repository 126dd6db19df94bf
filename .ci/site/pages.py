"""Makes the pages of the site from the READMEs of the tree, and a reference from its docstrings."""

import os.path
import re
import sys
from pathlib import Path

from properdocs.structure.files import File  # pyright: ignore[reportMissingImports]

ROOT = Path(__file__).parents[2]
# Title and README per page, in order.
PAGES = {
    "Guides": {
        "An age from a photograph": "README.md",
        "First model in ten minutes, and the recipes": "configs/README.md",
        "Your own photographs": "tfds_builders/labeled_faces/README.md",
        "Reproducing Adience": "tfds_builders/adience/README.md",
        "Deploying by ONNX": "ageflax/export/README.md",
        "Several machines": "ageflax/runtime/README.md",
        "Adding a network": "ageflax/models/README.md",
    },
    "Commands": {
        "Training": "ageflax/training/README.md",
        "Evaluation": "ageflax/evaluation/README.md",
        "Prediction": "ageflax/predict/README.md",
        "Comparison": "ageflax/report/README.md",
        "The page": "ageflax/demo/README.md",
        "Import": "ageflax/import_weights/README.md",
        "Pipelines": "pipelines/README.md",
        "TPUs": "ageflax/compile_for/README.md",
        "Wash": "ageflax/data/washing/README.md",
    },
    "Models and data": {
        "The model in the package": "ageflax/bundle/default/README.md",
        "Bundles": "ageflax/bundle/README.md",
        "Augmentation": "ageflax/augment/README.md",
        "IMDB-WIKI": "tfds_builders/imdb_wiki/README.md",
        "Drawn faces": "tfds_builders/synthetic_faces/README.md",
    },
    "Tests": {
        "Tests": "tests/README.md",
        "Benchmarks": "tests/benchmarks/README.md",
        "Soaks": "tests/soak/README.md",
        "Hostile input": "tests/hostile/README.md",
    },
}


def _modules(folder: str) -> list[str]:
    """Public modules of a folder of ageflax."""
    files = sorted((ROOT / "ageflax" / folder).glob("[a-z]*.py"))
    return [f"ageflax.{folder}.{file.stem}" for file in files]


# Modules, by page.
REFERENCE = {
    "Predictor": ["ageflax.predict.predictor", "ageflax.predict.face"],
    "Bundles": ["ageflax.bundle.loading", "ageflax.bundle.model", "ageflax.bundle.description"],
    "Labels": ["ageflax.labels"],
    "Metrics": _modules("metrics"),
    "Losses": _modules("losses"),
    "Networks": _modules("models"),
}


def _page(readme: str) -> str:
    folder = str(Path(readme).parent)
    return "index.md" if folder == "." else f"{folder}/index.md"


def _linked(text: str, readme: str) -> str:
    """Names of other READMEs become links to their pages."""
    up = "../" * (len(Path(_page(readme)).parts) - 1)

    def link(match: re.Match[str]) -> str:
        name = match[1]
        known = any(name in pages.values() for pages in PAGES.values())
        return f"[{name}]({up}{_page(name)})" if known else match[0]

    return re.sub(r"`((?:[\w.]+/)*README\.md)`", link, text)


KEYS = "Config keys"


def _keys() -> str:
    """Page of the config's keys, a table per group."""
    sys.path.insert(0, str(ROOT))
    from ageflax import config

    lines, group = ["# Config keys", "", "Each is set by `--config.KEY=VALUE`."], None
    for name, key in config.KEYS.items():
        if group != (group := name.rpartition(".")[0]):
            title = [f"## {group}", ""] if group else []
            lines += ["", *title, "| key | default | values | meaning |", "|---|---|---|---|"]
        default = "" if key.default in (None, "") else f"`{key.default}`"
        cells = (f"`{name}`", default, key.expected, key.help)
        lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines)


def _reference_page(title: str) -> str:
    return f"reference/{title.lower().replace(' ', '_')}.md"


def on_config(config):
    """Sets the navigation."""
    sections = [
        {section: [{title: _page(readme)} for title, readme in pages.items()]}
        for section, pages in PAGES.items()
    ]
    config.nav = [*sections, {"Reference": [{t: _reference_page(t)} for t in (*REFERENCE, KEYS)]}]
    return config


def on_files(files, config):
    """Adds the pages, and the pictures that they show."""

    def add(path: str, content: str | bytes) -> None:
        files.append(File.generated(config, path, content=content))

    for readme in (readme for pages in PAGES.values() for readme in pages.values()):
        text = (ROOT / readme).read_text()
        # A model card's front matter.
        text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)
        for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
            path = os.path.normpath(Path(readme).parent / picture)
            add(path, (ROOT / path).read_bytes())
        add(_page(readme), _linked(text, readme))
    for title, modules in REFERENCE.items():
        add(_reference_page(title), f"# {title}\n\n" + "".join(f"::: {m}\n\n" for m in modules))
    add(_reference_page(KEYS), _keys())
    return files
