"""Makes the pages of the site from the READMEs of the tree, and a reference from its docstrings."""

import os.path
import re
from pathlib import Path

import mkdocs_gen_files

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
    "Config keys": ["ageflax.config.schema"],
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


summary = []
for section, pages in PAGES.items():
    summary.append(f"* {section}")
    for title, readme in pages.items():
        text = (ROOT / readme).read_text()
        text = re.sub(
            r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL
        )  # a model card's front matter
        for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
            path = os.path.normpath(Path(readme).parent / picture)
            with mkdocs_gen_files.open(path, "wb") as file:
                file.write((ROOT / path).read_bytes())
        with mkdocs_gen_files.open(_page(readme), "w") as file:
            file.write(_linked(text, readme))
        summary.append(f"    * [{title}]({_page(readme)})")
summary.append("* Reference")
for title, modules in REFERENCE.items():
    page = f"reference/{title.lower().replace(' ', '_')}.md"
    with mkdocs_gen_files.open(page, "w") as file:
        file.write(f"# {title}\n\n" + "".join(f"::: {module}\n\n" for module in modules))
    summary.append(f"    * [{title}]({page})")
with mkdocs_gen_files.open("SUMMARY.md", "w") as file:
    file.write("\n".join(summary) + "\n")
