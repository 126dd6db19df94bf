"""The notebook runs from top to bottom, as IPython would run it; its parameters make it short."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from tests.conftest import SMALL_FACES

ROOT = Path(__file__).parents[1]
NOTEBOOK = json.loads((ROOT / "configs" / "colab.ipynb").read_text())


def shell(command: str, names: dict[str, Any]) -> None:
    for name, value in names.items():
        command = command.replace(f"{{{name}}}", str(value))
    here = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-c", command], env=os.environ | here, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_it_runs_from_top_to_bottom(small_faces, data_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(plt, "show", plt.close)
    names: dict[str, Any] = {"_shell": lambda command: shell(command, names)}
    small = (f"--config.data.name={SMALL_FACES}", f"--config.data.dir={data_dir}", "--config.fold=0",
             "--config.data.resize=32", "--config.data.crop=27", "--config.model.width=0.05",
             "--config.steps=8", "--config.eval.every=4", "--config.eval.log_every=2")  # fmt: skip
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] != "code":
            continue
        lines = (
            f"{line[: len(line) - len(line.lstrip())]}_shell({line.strip()[1:]!r})"
            if line.lstrip().startswith("!")
            else line.rstrip("\n")
            for line in cell["source"]
        )
        exec("\n".join(lines), names)  # noqa: S102
        if "parameters" in cell["metadata"].get("tags", ()):
            assert (ROOT / names["photo"].removeprefix("ageflax/")).is_file()
            names["photo"] = str(ROOT / "tests" / "pictures" / "photograph.jpg")
            names["options"] = shlex.join(small)
    assert len(names["faces"]) > 0
    assert [line["step"] for line in names["log"]] == [2, 4, 6, 8]
    assert names["model"].heads["gender"] == ("female", "male")
    shown = [output for cell in NOTEBOOK["cells"] for output in cell.get("outputs", ())]
    assert shown and all(output["output_type"] != "error" for output in shown)
