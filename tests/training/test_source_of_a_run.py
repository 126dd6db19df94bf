"""A run records what its dataset was built from, and resumes on nothing else."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from ageflax import config as configuration
from ageflax.errors import InputError
from ageflax.training import cross_validation
from tests.conftest import small_values
from tfds_builders.labeled_faces.dummy_build import draw, encode


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    rows = ["path,gender,subject"]
    for number in range(40):
        (folder / f"{number}.png").write_bytes(encode(Image.fromarray(draw(number, 32))))
        rows.append(f"{number}.png,{'fm'[number % 2]},person {number // 2 + number % 2 * 50}")
    (folder / "labels.csv").write_text("\n".join(rows))
    return folder


def run(tmp_path: Path, manual_dir: Path, *words: str) -> list[str]:
    lines: list[str] = []
    values = small_values(tmp_path / "datasets")
    words = (
        f"--config.data.manual_dir={manual_dir}",
        "--config.data.name=labeled_faces/mine",
        "--config.task=gender",
        "--config.fold=0",
        *words,
    )
    config = configuration.resolve(values, words)
    cross_validation.run(config, tmp_path / "run", say=lines.append)
    return lines


def test_the_source_is_recorded_and_a_run_resumes_only_on_it(tmp_path: Path, photographs: Path):
    run(tmp_path, photographs)
    record = json.loads((tmp_path / "run" / "config.json").read_text())
    result = json.loads((tmp_path / "run" / "fold_0" / "result.json").read_text())
    found = record["data"]["source"]
    assert found["path"] == str(photographs)
    assert result["data"]["source"] == found
    # What is passed on names no folder of this machine.
    bundle = json.loads((tmp_path / "run" / "fold_0" / "bundle" / "config.json").read_text())
    assert bundle["data"]["source"] == {"digest": found["digest"]}

    moved = tmp_path / "moved"
    shutil.copytree(photographs, moved)
    assert run(tmp_path, moved) == ["fold 0 is done"]
    labels = moved / "labels.csv"
    labels.write_text(labels.read_text().replace("0.png,f", "0.png,m", 1))
    with pytest.raises(
        InputError, match=r"moved: differs from what labeled_faces/mine was built from"
    ):
        run(tmp_path, moved)
    with pytest.raises(InputError, match="holds a run with another config; differing: data: "):
        run(tmp_path, moved, "--config.data.rebuild=true")
    run(tmp_path, photographs, "--config.data.rebuild=true")
    (photographs / "3.png").write_bytes(encode(Image.fromarray(draw(99, 32))))
    with pytest.raises(InputError, match="differing: data: built from other files: "):
        run(tmp_path, photographs, "--config.data.rebuild=true")
