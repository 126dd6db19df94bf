"""Faults found by the fuzzer, each by its smallest input."""

import copy
import io
import os
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import scipy.io
from ml_collections import ConfigDict

from ageflax import config, report
from ageflax.bundle import load, loading
from ageflax.data.building import archives
from ageflax.errors import InputError, RunError, one_line
from ageflax.evaluation.predictions_csv import read_predictions
from ageflax.export import write
from ageflax.report import comparison
from ageflax.training.log import MetricsLog, images_per_second
from tests.support import small_bundle
from tests.support.finished_runs import write_run
from tfds_builders.adience import fold_files
from tfds_builders.imdb_wiki import dummy_tree, mat_file, metadata
from tfds_builders.labeled_faces import labels_file


@pytest.mark.parametrize(
    "word",
    [
        "folds={[]:1}",  # TypeError: a list is unhashable
        f"optim.learning_rate={'9' * 400}",  # OverflowError: too large for a float
        f"seed=0x{'f' * 5000}",  # ValueError: Python's limit of digits
        "folds=[{}, {}]",  # TypeError: a dictionary is unhashable
        "no_key" * 1000,  # a message as long as the argument
        f"{'key' * 1000}=1",
        f"task={'age+' * 1000}",
        f"folds={list(range(9, 3000))}",
        f"folds={[0] * 3000}",
        f"data.name={'x' * 3000}",
        f"model.name={'levi' * 1000}",
        f"data.eyes={[[0.1, 0.2]] * 1000}",
        f"data.intervals={[[3] * 2000]}",
        f"optim.decay_exempt={[[1] * 2000]}",
    ],
)
def test_a_word_that_is_no_value_is_refused(word):
    with pytest.raises(InputError) as refused:
        config.resolve(ConfigDict({}), [f"--config.{word}"])
    assert word[:4] in str(refused.value)
    assert len(str(refused.value)) < 2000


def test_a_number_of_a_bundle_that_no_float_can_hold_is_refused(tmp_path):
    directory = small_bundle.write(tmp_path)
    path = directory / "config.json"
    text = path.read_text()
    assert '"label_smoothing": 0.0' in text
    path.write_text(text.replace('"label_smoothing": 0.0', f'"label_smoothing": {10**400}'))
    with pytest.raises(InputError, match=r"its config is damaged: .*label_smoothing"):
        load(directory)


def _mat() -> bytearray:
    return bytearray(dummy_tree.mat(dummy_tree.fields([dummy_tree.Face("a.jpg")], "wiki"), "wiki"))


@pytest.mark.parametrize("kind", [0, 20, 41, 255, 0xFFFF])
def test_numbers_of_no_known_type_are_refused(kind):
    # Types 20 and 41 crash SciPy's reader, which reads beyond its table of types.
    content = _mat()
    struct.pack_into("<I", content, content.index(struct.pack("<II", 9, 8)), kind)
    with pytest.raises(InputError, match=rf"x\.mat: field 'dob' is damaged \(.* type {kind}\)"):
        metadata.read(bytes(content), database="wiki", name="x.mat")


@pytest.mark.parametrize(
    ("element", "value"),
    [
        ("class", 0), ("class", 3), ("class", 5), ("class", 17), ("class", 0x0806),
        ("side", 0x7FFFFFFF), ("side", 0xFFFFFFFF), ("side", 2),
    ],
)  # fmt: skip
def test_a_matrix_that_says_it_is_something_else_is_refused(element, value):
    # For a side of 2e9, SciPy allocates as many numbers.
    refused = 0
    for number in range(10):
        content, at = _mat(), -1
        for _ in range(number + 1):
            at = content.index(struct.pack("<II", 6 if element == "class" else 5, 8), at + 1)
        struct.pack_into("<I", content, at + 8, value)
        try:
            found = metadata.read(bytes(content), database="wiki", name="x.mat")
        except InputError as error:
            assert str(error).startswith("x.mat: ")
            refused += 1
        else:  # that of a text in one row, which is as long as it is
            assert len(found) == 1 or element == "side"
    assert refused > 4


def test_whatever_scipy_writes_is_read_as_it_reads_it():
    texts = np.empty((1, 3), object)
    texts[0, :] = ["Ünal", "", "林"]
    struct_: dict[str, Any] = {"a": np.arange(6.0).reshape(2, 3), "b": texts, "c": "word", "d": np.array([[1]], np.int8),
               "e": np.zeros((0, 0)), "f": np.array(["ab", "cd"])}  # fmt: skip
    for compressed in (False, True):
        stream = io.BytesIO()
        scipy.io.savemat(stream, {"s": struct_}, do_compression=compressed)
        found: Any = mat_file.read(stream.getvalue())["s"]
        np.testing.assert_array_equal(found["a"], struct_["a"])
        assert [str(text) if isinstance(text, str) else np.size(text) for text in found["b"][0]] in (
            ["Ünal", 0, "林"], ["Ünal", "", "林"],
        )  # fmt: skip
        assert found["c"] == "word"
        assert list(found["f"]) == ["ab", "cd"]
        assert (np.size(found["d"]), np.size(found["e"])) == (1, 0)


def test_columns_of_a_table_are_shown_without_what_a_terminal_obeys(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("a\x1b[31mb,age\n1,2\n")
    with pytest.raises(InputError) as refused:
        labels_file.read(path)
    assert str(refused.value).isprintable()
    assert one_line("a\x1b\n b") == "a b"


@pytest.mark.parametrize("kind", ["pipe", "endless"])
def test_what_is_no_file_is_not_waited_for(tmp_path, kind):
    def replace(path: Path) -> None:
        os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")

    for fold in fold_files.FOLDS:
        replace(tmp_path / fold_files.name(fold))
    with pytest.raises(InputError, match=r"fold_0_data.txt: .*not a file"):
        fold_files.read(tmp_path)
    for name in ("a.tar", "a.tar.gz"):
        replace(tmp_path / name)
        with pytest.raises(InputError, match="not a file"):
            archives.read(tmp_path / name, {"a"}, folder=tmp_path)


def test_long_names_that_people_have_are_read(tmp_path):
    name = "wiki/" + "n" * 300 + ".jpg"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"abc"))
        assert archives.read(tmp_path / "a.tar", {name}, folder=tmp_path).read(name) == b"abc"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for seed, name in enumerate(("one", "other")):
        write_run(folder / name, seed=seed, folds=[0])
    return folder


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("summary.json", b"\xff"), ("summary.json", b"3"), ("summary.json", b"[1]"),
        ("summary.json", b"{}"), ("summary.json", b'{"folds": [0]}'), ("summary.json", b"[" * 100_000),
        ("summary.json", b'{"folds": ["../../x"]}'), ("summary.json", b'{"folds": [1%s]}' % (b"0" * 300)),
        ("config.json", b"7"),
        ("config.json", b'{"config": "x"}'), ("fold_0/result.json", b"5"), ("fold_0/result.json", b"{}"),
        ("fold_0/metrics.jsonl", b'{"step": 1, "loss": 1%s}\n' % (b"0" * 400)),
    ],
)  # fmt: skip
def test_a_damaged_record_is_told(finished, name, content):
    path = finished / "one" / name
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        with pytest.raises(InputError, match=r"damaged|no finished fold") as refused:
            report.write(finished / "one")
        assert len(str(refused.value)) < 1000
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("content", [b"3", b"[1]", b'{"folds": [0]}'])
def test_a_damaged_record_is_told_by_a_comparison(finished, content):
    path = finished / "one" / "summary.json"
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        with pytest.raises(InputError, match=r"one of the runs: .* damaged"):
            comparison.compare([finished / "one", finished / "other"])
    finally:
        path.write_bytes(before)


def test_a_log_of_other_lines_is_read_as_far_as_it_is_one(tmp_path):
    good = b'{"step": 1, "images_per_second": 5.0}\n'
    bad = [
        b"\xff\n",
        b"[]\n",
        b"3\n",
        b'{"step": []}\n',
        b'{"images_per_second": "x", "step": 2}\n',
    ]
    for line in bad:
        (tmp_path / "metrics.jsonl").write_bytes(good + line)
        assert images_per_second(tmp_path) == 5.0
        MetricsLog(tmp_path, 1).close()
        assert (tmp_path / "metrics.jsonl").read_bytes() == good
    (tmp_path / "metrics.jsonl").write_bytes(b"")
    assert images_per_second(tmp_path) is None


@pytest.mark.parametrize("content", [b"\xff", b"[]", b'{"tasks": 1}', b'{"tasks": {"years": {}}}'])
def test_a_damaged_result_beside_predictions_is_told(finished, content):
    path = finished / "one" / "fold_0" / "result.json"
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        with pytest.raises(RunError, match=r"no result\.json beside it names"):
            read_predictions(path.with_name("predictions.csv"), "years")
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("cell", [b"long" * 1000, b"a\0b\x1b"])
@pytest.mark.parametrize(
    ("column", "message"),
    [(b"subject", "a different subject"), (b"gender_true", "expected one of female, male")],
)
def test_cells_are_shown_cut_and_without_what_a_terminal_obeys(finished, cell, column, message):
    path = finished / "one" / "fold_0" / "predictions.csv"
    before = path.read_bytes()
    header, line, rest = before.split(b"\n", 2)
    cells = dict(zip(header.split(b","), line.split(b","), strict=True)) | {column: cell}
    path.write_bytes(b"\n".join([header, b",".join(cells.values()), rest]))
    try:
        with pytest.raises((InputError, RunError), match=message) as refused:
            comparison.compare([finished / "one", finished / "other"])
        assert len(str(refused.value)) < 1500
        assert str(refused.value).isprintable()
    finally:
        path.write_bytes(before)


def test_a_member_of_an_eternity_is_not_gone_through(tmp_path):
    member = tarfile.TarInfo("x")
    member.size = 1 << 60
    (tmp_path / "a.tar").write_bytes(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    with pytest.raises(InputError, match="a member of 1152921504606846976 bytes"):
        archives.read(tmp_path / "a.tar", {"a"}, folder=tmp_path)


@pytest.mark.parametrize("length", ["9" * 30, "9" * 5000])
def test_a_remark_of_an_eternity_is_refused(tmp_path, length):
    remark = f"{length} path=a\n".encode()
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.XHDTYPE, len(remark)
    content = member.tobuf(tarfile.USTAR_FORMAT) + remark + bytes(-len(remark) % 512)
    (tmp_path / "a.tar").write_bytes(content + bytes(1024))
    with pytest.raises(InputError, match="truncated or damaged"):
        archives.read(tmp_path / "a.tar", {"a"}, folder=tmp_path)


def test_what_a_message_shows_of_a_file_no_terminal_obeys():
    for kind in (InputError, RunError):
        told = kind("a\x1b]0;title\x07b\r\x9b2J: two\nlines, é\u202e")
        assert str(told) == "a ]0;title b  2J: two\nlines, é "
        assert str(copy.copy(told)) == str(told)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A small ONNX model to change."""
    folder = tmp_path_factory.mktemp("exported")
    write.export(load(small_bundle.write(folder / "bundle")), folder / "model.onnx")
    return onnx.load(folder / "model.onnx")


def _renamed_input(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "constan\x01_7"


def _other_layout(model: onnx.ModelProto) -> None:
    found = {entry.key: entry for entry in model.metadata_props}
    found["ageflax.layout"].value = "nh\x01\x1b[2J\nint8"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_renamed_input, r"model\.onnx: not a readable ONNX file: .*'constan _7'"),
        (_other_layout, r"model\.onnx: exported with --layout=nh \[2J int8, for programs"),
    ],
)
def test_names_of_an_exported_model_are_shown_without_what_a_terminal_obeys(
    exported, tmp_path, change, message
):
    model = onnx.ModelProto()
    model.CopyFrom(exported)
    change(model)
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(InputError, match=message) as refused:
        loading.open_model(tmp_path / "model.onnx")
    assert str(refused.value).isprintable()
