"""Pictures of the READMEs, and the files that they show: a change of those asks for new pictures."""

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent
_ROOT = FOLDER.parents[1]
_MODEL = ("ageflax/bundle/default/model.safetensors", "ageflax/bundle/default/config.json")
_PAGE = tuple(f"ageflax/report/templates/{name}" for name in ("page.*", "macros.*"))
_REPORT = (*_PAGE, "ageflax/report/templates/report.html.jinja", "ageflax/report/svg.py")

# Files behind each picture.
MADE_FROM = {
    "photograph.jpg": ("ageflax/predict/annotation.py", *_MODEL),
    "report.webp": _REPORT,
    "faces.webp": _REPORT,
    "comparison.webp": (*_PAGE, "ageflax/report/templates/comparison.html.jinja"),
    "demo.webp": ("ageflax/demo/templates/*", "ageflax/demo/static/*", *_MODEL),
}


def digest(name: str) -> str:
    """Hashes the files behind a picture."""
    hashed = hashlib.sha256()
    for pattern in MADE_FROM[name]:
        for path in sorted(_ROOT.glob(pattern)):
            hashed.update(path.read_bytes())
    return hashed.hexdigest()[:16]
