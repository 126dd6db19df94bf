import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ageflax import labels, metrics, published, report, summary
from ageflax.errors import InputError

_VOID = {"meta", "img", "br", "wbr", "link", "use", "path"}


class Page(HTMLParser):
    """Tables as lists of rows, text by element, images and addresses of a page; checks nesting."""

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


def write_fold(
    workdir: Path,
    fold: int,
    truth: Mapping[str, Sequence[int | None]],
    probabilities: dict[str, np.ndarray],
    *,
    keys: list[str] | None = None,
    validation: int = 5,
    leaks: int = 0,
    log: str | None = None,
    **protocol: Any,
) -> None:
    """A finished fold: the faces' classes (None is no label) and probabilities per task."""
    directory = workdir / f"fold_{fold}"
    directory.mkdir(parents=True)
    count = len(next(iter(truth.values())))
    keys = keys or [f"{fold}_{k}" for k in range(count)]
    tasks = {}
    for task, classes in truth.items():
        known = np.array([c is not None for c in classes])
        tasks[task] = metrics.classification(
            np.array([c for c in classes if c is not None], int),
            probabilities[task][known],
            labels.class_names(task),
            ordered=task == "age",
        )
    rules = {
        "name": "cross_validation", "label_policy": "strict", "validation": "subject",
        "validation_persons_in_training": leaks, "resize": 32, "crop": 27, "crops": "ten",
        "checkpoint": "last",
    }  # fmt: skip
    result = {
        "fold": fold,
        "protocol": rules | protocol,
        "data": {
            "name": "synthetic_faces/default/1.0.0", "faces": 40, "without_label": 3,
            "unreadable": 1, "edition": None, "licence": "Apache-2.0 (drawn)",
            "fingerprint": "0123456789abcdef",
        },
        "faces": {"train": 1234, "validation": validation, "test": count, "test_unreadable": 0},
        "tasks": tasks,
        "tested_step": 8, "steps": 8, "images_per_second": None, "seconds": 3725.0,
    }  # fmt: skip
    (directory / "result.json").write_text(json.dumps(result))
    if log is None:
        log = json.dumps({"step": 4, "loss": 2.0, "validation_age_exact": 0.5}) + "\n"
    (directory / "metrics.jsonl").write_text(log)
    with (directory / "predictions.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        header = ["key", "subject"]
        for task in truth:
            header += [f"{task}_true", f"{task}_predicted"]
            header += [f"{task}_probability_{name}" for name in labels.class_names(task)]
        writer.writerow(header)
        for k in range(count):
            row = [keys[k], f"person_{k}"]
            for task, classes in truth.items():
                names, scores, true = labels.class_names(task), probabilities[task][k], classes[k]
                row += ["" if true is None else names[true], names[scores.argmax()]]
                row += [f"{score:.9g}" for score in scores]
            writer.writerow(row)


def finish(
    workdir: Path,
    *,
    data: str | None = None,
    edition: str = "server",
    config: dict[str, Any] | None = None,
) -> None:
    """summary.json of the folds written, and config.json where one is given."""
    figures = summary.summarise(summary.finished(workdir), workdir)
    if data:
        figures["data"] |= {"name": data, "edition": edition}
    (workdir / "summary.json").write_text(json.dumps(figures))
    if config is not None:
        (workdir / "config.json").write_text(json.dumps(config))


def page(workdir: Path, **arguments: Any) -> Page:
    report.write(workdir, **arguments)
    return Page(workdir / "report.html")


def gender(*female: float) -> dict[str, np.ndarray]:
    return {"gender": np.array([[p, 1 - p] for p in female])}


def age(*predicted: int, confidence: float = 0.65) -> dict[str, np.ndarray]:
    scores = np.full((len(predicted), 8), (1 - confidence) / 7)
    scores[np.arange(len(predicted)), predicted] = confidence
    return {"age": scores}


def jpeg(colour: tuple[int, int, int], size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG")
    return file.getvalue()


def test_headline_of_two_folds(tmp_path):
    # Fold 0: three of four right; fold 2: one of four. Within one group: all, and two.
    write_fold(tmp_path, 0, {"age": [0, 1, 2, 2]}, age(0, 1, 2, 1))
    write_fold(tmp_path, 2, {"age": [0, 0, 0, 7]}, age(0, 1, 4, 4))
    finish(tmp_path)
    (table,) = page(tmp_path).tables["figures"]
    assert table == [
        ["figure", "mean", "± sd", "floor", "fold 0", "fold 2"],
        ["Exact accuracy %", "50.0", "35.4", "62.5", "75.0", "25.0"],
        ["One-off accuracy %", "75.0", "35.4", "87.5", "100.0", "50.0"],
        ["Mean distance groups", "1.12", "1.24", "–", "0.25", "2.00"],
    ]


def test_one_fold_has_no_deviation_and_missing_folds_are_said(tmp_path):
    write_fold(tmp_path, 3, {"gender": [0, 1]}, gender(0.9, 0.2))
    finish(tmp_path)
    shown = page(tmp_path)
    assert shown.tables["figures"][0][1][1:4] == ["100.0", "–", "50.0"]
    assert any(
        text.startswith("Fold 3 of 5 is done, 0, 1, 2 and 4 are not")
        for text in shown.texts["p.notice"]
    )


def test_all_folds_and_a_hold_out_lack_nothing(tmp_path):
    for fold in range(5):
        write_fold(tmp_path / "all", fold, {"gender": [0, 1]}, gender(0.9, 0.2))
    write_fold(tmp_path / "one", 4, {"gender": [0, 1]}, gender(0.9, 0.2), name="hold_out")
    for name in ("all", "one"):
        finish(tmp_path / name)
        assert "p.notice" not in page(tmp_path / name).texts
    assert "hold-out: folds 0 to 2 train" in page(tmp_path / "one").text


def test_confusion_is_pooled_and_a_class_never_guessed_is_said(tmp_path):
    write_fold(tmp_path, 0, {"gender": [0, 0, 1]}, gender(0.9, 0.8, 0.7))
    write_fold(tmp_path, 1, {"gender": [0, 1, None]}, gender(0.9, 0.6, 0.1))
    finish(tmp_path)
    shown = page(tmp_path)
    assert shown.tables["matrix"][0] == [
        ["", "female", "male"],
        ["female", "3", "0"],
        ["male", "2", "0"],
    ]
    assert shown.tables["recall"][0][1:] == [
        ["female", "3", "100.0", "", "5", "60.0"],
        ["male", "2", "0.0", "", "never", "–"],
    ]


def test_no_labelled_face_shows_dashes(tmp_path):
    write_fold(tmp_path, 0, {"gender": [None, None]}, gender(0.9, 0.8))
    finish(tmp_path)
    shown = page(tmp_path)
    assert shown.tables["figures"][0][1] == ["Exact accuracy %", "–", "–", "–", "–"]
    assert shown.tables["recall"][0][1] == ["female", "0", "–", "", "never", "–"]
    assert "every labelled test face was classified right" in shown.text


def test_worst_faces_come_first_and_right_ones_not_at_all(tmp_path):
    write_fold(tmp_path, 0, {"gender": [0, 0, 0, 1]}, gender(0.9, 0.3, 0.00001, 0.97))
    write_fold(tmp_path, 1, {"gender": [0, None]}, gender(0.12, 0.0))
    finish(tmp_path)
    shown = page(tmp_path)
    assert shown.texts["span.key"] == ["fold 0, 0_2", "fold 0, 0_3", "fold 1, 1_0", "fold 0, 0_1"]
    assert "<b>female</b> &lt; 0.01 %" in shown.text


def test_the_wall_ends_at_24_faces(tmp_path):
    count = 30
    wrong = gender(*(k / 100 for k in range(count)))
    write_fold(tmp_path, 0, {"gender": [0] * count}, wrong)
    finish(tmp_path)
    assert page(tmp_path).texts["span.key"][-1] == "fold 0, 0_23"


def test_thumbnails_are_small_and_only_of_the_faces_shown(tmp_path):
    write_fold(tmp_path, 0, {"gender": [0, 0, 0, 0]}, gender(0.1, 0.9, 0.2, 0.3))
    finish(tmp_path)
    asked: list[str] = []

    def thumbnails(keys):
        asked.extend(keys)
        return {"0_0": jpeg((200, 10, 10), (300, 150)), "0_2": b"no image"}

    shown = page(tmp_path, thumbnails=thumbnails)
    assert asked == ["0_0", "0_2", "0_3"]
    (address,) = shown.images
    head, _, body = address.partition(",")
    assert head == "data:image/jpeg;base64"
    image = Image.open(io.BytesIO(base64.b64decode(body)))
    assert (image.format, image.size) == ("JPEG", (96, 48))
    assert "the same terms hold for it" in shown.text
    assert "the same terms hold for it" not in page(tmp_path).text


def test_hostile_names_stay_text(tmp_path):
    hostile = "<script>alert('1')</script>\"&"
    write_fold(tmp_path, 0, {"gender": [0]}, gender(0.1), keys=[hostile])
    finish(tmp_path, data="<img src=x>/1.0.0", config={"config": {"note": hostile}})
    shown = page(tmp_path)
    assert "script" not in shown.tags
    assert shown.images == []
    assert shown.texts["span.key"] == [f"fold 0, {hostile}"]


def test_the_page_needs_nothing_else(tmp_path):
    lines = [{"step": k, "loss": 3 - k / 10, "validation_gender_exact": 0.5} for k in range(1, 9)]
    log = "".join(json.dumps(line) + "\n" for line in lines)
    write_fold(tmp_path, 0, {"gender": [0]}, gender(0.1), log=log)
    finish(tmp_path)
    shown = page(tmp_path, thumbnails=lambda keys: dict.fromkeys(keys, jpeg((1, 2, 3), (9, 9))))
    assert shown.tags.count("svg") == 2
    assert "link" not in shown.tags and "script" not in shown.tags
    assert all(address.startswith(("#", "data:")) for address in shown.addresses)
    assert "@import" not in shown.source and "url(http" not in shown.source
    assert len(set(shown.ids)) == len(shown.ids)
    assert {a[1:] for a in shown.addresses if a.startswith("#")} <= set(shown.ids)


def test_the_same_run_gives_the_same_page(tmp_path):
    write_fold(tmp_path, 0, {"age": [0, 1]}, age(0, 3))
    finish(tmp_path)
    first = page(tmp_path).source
    assert page(tmp_path).source == first
    assert not (tmp_path / "report.html.partial").exists()


@pytest.mark.parametrize(
    ("log", "panels"),
    [
        ("", 0),
        ('{"step": 2, "loss": 1.5}\n', 1),
        ('{"step": 2, "loss": 1.5, "validation_age_exact": 0.5}\n{"step": 4, "lo', 2),
        ('{"step": 2, "loss": NaN}\n', 0),
        ("".join(f'{{"step": {k}, "loss": 1.5}}\n' for k in range(1000)), 1),
    ],
)
def test_curves_of_any_log(tmp_path, log, panels):
    write_fold(tmp_path, 0, {"age": [0, 1]}, age(0, 3), log=log)
    finish(tmp_path)
    assert page(tmp_path).tags.count("svg") == panels


def test_a_run_without_validation_says_so(tmp_path):
    log = '{"step": 2, "loss": 1.5}\n'
    write_fold(tmp_path, 0, {"age": [0, 1]}, age(0, 3), log=log, validation=0)
    write_fold(tmp_path, 1, {"age": [0, 1]}, age(0, 3), log=log, validation=0)
    finish(tmp_path)
    assert "No faces were held out for validation" in page(tmp_path).text


def test_a_leak_is_a_warning_in_words(tmp_path):
    write_fold(tmp_path, 0, {"age": [0, 1]}, age(0, 1), leaks=12, checkpoint="best")
    write_fold(tmp_path, 1, {"age": [0, 1]}, age(0, 1), leaks=0, checkpoint="best")
    finish(tmp_path)
    (notice,) = [text for text in page(tmp_path).texts["p.notice"] if "leaks" in text]
    assert "(12 in fold 0)" in notice
    assert "chose the checkpoint" in notice


def test_a_model_no_better_than_the_floor_is_said_to_be_so(tmp_path):
    write_fold(tmp_path, 0, {"gender": [0, 0, 1]}, gender(0.9, 0.9, 0.9))
    finish(tmp_path)
    assert any("has not learned" in text for text in page(tmp_path).texts["p.notice"])


def test_published_figures_stand_beside_adience_alone(tmp_path):
    truth = {"age": [0, 1], "gender": [0, 1]}
    write_fold(tmp_path, 0, truth, age(0, 1) | gender(0.9, 0.4))
    finish(tmp_path, data="adience/aligned/1.0.0")
    of_age, of_gender = page(tmp_path).tables["published"]
    assert of_age[1][:5] == ["this run, 1 fold, over-sample", "100.0", "", "100.0", ""]
    assert of_age[3][:5] == ["Levi-Hassner, over-sample", "50.7", "5.1", "84.7", "2.2"]
    assert of_gender[3][:3] == ["Levi-Hassner, over-sample", "86.8", "1.4"]
    assert len(of_age) + len(of_gender) == 4 + len(published.ADIENCE)
    finish(tmp_path, data="adience/aligned/1.0.0", edition="unknown (md5 0, 1, 2, 3, 4)")
    assert "published" not in page(tmp_path).tables
    finish(tmp_path)
    shown = page(tmp_path)
    assert "published" not in shown.tables
    assert "cannot be compared with these" in shown.text
    assert "Levi & Hassner" not in shown.text


def test_no_folder_of_the_user_is_told(tmp_path):
    command = [
        "main.py", "--config=configs/levi.py", "--workdir=/home/jane doe/runs/q0",
        "--config.data.dir=~/secret/tfds", "--config.x=('/srv/jane/a', 1)",
        "--init=hf://owner/name", r"--y=C:\Users\jane\z",
    ]  # fmt: skip
    write_fold(tmp_path, 0, {"gender": [0]}, gender(0.1))
    data = {"dir": "/home/jane/tfds", "manual_dir": "relative/path"}
    finish(tmp_path, config={"config": {"data": data}, "command": command})
    shown = page(tmp_path)
    assert shown.texts["pre"] == [
        "python -m ageflax.main --config=configs/levi.py --workdir=q0 --config.data.dir=tfds"
        """ '--config.x=('"'"'a'"'"', 1)' --init=hf://owner/name --y=z"""
    ]
    assert not any(word in shown.source for word in ("jane", "secret", "/home", "/srv"))
    assert ["data.dir", "tfds"] in shown.tables[""][-1]
    assert ["data.manual_dir", "relative/path"] in shown.tables[""][-1]


def test_protocol_and_terms(tmp_path):
    write_fold(tmp_path, 0, {"gender": [0]}, gender(0.1))
    versions = {"ageflax": "0.1.0", "jax": "0.10.2"}
    finish(tmp_path, config={"config": {}, "versions": versions, "devices": {"cpu": 4}})
    shown = page(tmp_path)
    said = dict(zip(shown.texts["dt"], shown.texts["dd"], strict=True))
    assert said["Dataset"] == "synthetic_faces/default/1.0.0, 40 faces"
    assert said["Faces left out"] == "3 without a usable label, 1 unreadable"
    assert said["Crops tested"].startswith("ten crops")
    assert said["Checkpoint tested"] == "the last one; step 8"
    assert said["Devices"] == "4 × cpu"
    assert said["Wall time"] == "1 h 02 min for 1 fold"
    assert ["0", "1,234", "5", "1", "8", "–", "1 h 02 min"] in shown.tables[""][0]
    assert "Terms of the data: Apache-2.0 (drawn)." in shown.text


def test_nothing_finished_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no finished fold"):
        report.write(tmp_path)
