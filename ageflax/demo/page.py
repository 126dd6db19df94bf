"""Renders the page: controls, examples, the model's card and limits, and the REST endpoint."""

import re
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token

from ageflax.bundle import card as model_card
from ageflax.bundle import licences
from ageflax.bundle.description import Description
from ageflax.demo import schema
from ageflax.demo.examples import examples
from ageflax.demo.limits import Limits
from ageflax.errors import one_line

# A section of every card, shown beside the picture instead.
_LIMITS = "## Limits"


def _lowered(tokens: list[Token]) -> list[Token]:
    """Moves headings two levels down, since the card is part of the page; keys may scroll its tables."""
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
        elif token.type == "table_open":
            token.attrSet("tabindex", "0")
    return tokens


def card(model: Description) -> tuple[str, str]:
    """Renders (the model card, its section on limits) as HTML.

    The card is rendered from the description, so an .onnx file has one, too. Its text is untrusted: it
    is escaped, and raw HTML, images and links are dropped.
    """
    text = re.sub(r"\A---\n.*?\n---\n", "", model_card.render(model.to_json()), flags=re.DOTALL)
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    markdown.disable(["image", "link", "autolink"])
    sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    # The section's last lines are for Python users, not for visitors.
    limits = [
        part.partition("\n")[2].partition("```")[0] for part in sections if part.startswith(_LIMITS)
    ]
    rest = "".join(part for part in sections if not part.startswith(_LIMITS))

    def html(part: str) -> str:
        return markdown.renderer.render(_lowered(markdown.parse(part)), markdown.options, {})

    return html(rest), html("".join(limits))


def _model_line(model: Description) -> str:
    """The model in a few words."""
    data = model.data.get("name")
    names = {"age": "age groups", "years": "age", "gender": "gender"}
    heads = " and ".join(names[head] for head in model.heads)
    trained = f", trained on {one_line(data, 100)}" if isinstance(data, str) else ""
    return f"{model.architecture['name']} for {heads}{trained}"


def render(model: Description, limits: Limits, *, detector: str) -> str:
    """Renders the page, the same for every visitor.

    Args:
      model: description of the model.
      limits: limits in force.
      detector: name of the detector.
    """
    text, cautions = card(model)
    document = schema.document(model, limits)
    environment = Environment(
        loader=PackageLoader("ageflax.demo"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("demo.html.jinja").render(
        model=_model_line(model),
        detector=detector,
        notice=licences.notice(model.data, model.source),
        examples=examples(),
        card=text,
        cautions=cautions,
        limits=limits,
        endpoint=schema.ENDPOINT.removeprefix("/"),
        address=schema.ADDRESS,
        operation=document["paths"][schema.ENDPOINT]["post"],
    )


def static(name: str) -> str:
    """Reads a file of the page; its style sheet is preceded by that of the reports."""
    text = (resources.files("ageflax.demo") / "static" / name).read_text(encoding="utf-8")
    if name.endswith(".css"):
        shared = resources.files("ageflax.report") / "templates" / "page.css"
        return shared.read_text(encoding="utf-8") + text
    return text
