"""The table of `tests.benchmarks.recipes`."""

from typing import Any

from tests.benchmarks import machine

Result = dict[str, Any]


def _notes(result: Result) -> str:
    notes = []
    if result["batch_size"] != result["batch_size_of_file"]:
        notes.append(f"batch {result['batch_size_of_file']} in the file")
    if result["learning_at_step_0"] < result["parameters"]:
        notes.append(f"{result['learning_at_step_0']:,} learn")
    if len(result["phases"]) > 1:
        notes.append(f"until step {result['phases'][1]}")
    return ", ".join(notes)


def _row(result: Result) -> list[list[str]]:
    """A config's lines in the table: one, or two if it trains on cached features."""
    if "error" in result:
        reason = result["error"].replace("|", "\\|")
        return [[result["config"], *[""] * 7, f"failed: {reason}"]]
    gflop = result["gflop_per_image"]
    cells = [
        result["network"],
        str(result["crop"]),
        f"{result['parameters'] / 1e6:.2f}",
        f"{gflop:.2f}",
        str(result["batch_size"]),
    ]
    loss = f"{result['first_loss']:.3f} to {result['last_loss']:.3f}"
    rate, notes = f"{result['images_per_second']:.3g}", _notes(result)
    if not result["cached_features"]:
        return [[result["config"], *cells, rate, loss, notes]]
    trunk = f"{result['trunk_images_per_second']:.3g}"
    return [
        [f"{result['config']}, trunk", *cells, trunk, "", "features, once a face"],
        [f"{result['config']}, head", *cells[:2], "", "", cells[-1], rate, loss, notes],
    ]


def markdown(written: dict[str, Any]) -> str:
    """The results as GitHub's Markdown."""
    rows = [row for result in written["recipes"] for row in _row(result)]
    titles = ["config", "network", "crop", "M parameters", "GFLOP an image", "batch", "images/s",
              "loss", ""]  # fmt: skip
    head = (
        f"{machine.headline(written['machine'])};"
        f" {written['dataset']}, median step of {written['turns']} turns"
    )
    rule = ["---", "---", *["--:"] * 5, "---", "---"]
    return "\n".join(
        [head, "", *("| " + " | ".join(cells) + " |" for cells in [titles, rule, *rows])]
    )
