import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ageflax.config import replaced
from ageflax.data import images, pixel_cache, reading
from ageflax.data.building import find
from ageflax.data.dataset import StoredDataset
from ageflax.training import cross_validation

DECODING = reading.Decoding(24, "area")
COLUMNS = ("keys", "subjects", "folds", "age_labels", "ages", "genders", "scores")


@pytest.fixture
def dataset(small_faces, tmp_path) -> StoredDataset:
    """A copy of the small faces that no other test writes to."""
    shutil.copytree(
        small_faces.path, tmp_path / "1.0.0", ignore=shutil.ignore_patterns(pixel_cache.FOLDER)
    )
    return StoredDataset(tmp_path / "1.0.0")


@pytest.fixture
def decodes(monkeypatch) -> list[int]:
    """One entry per decoded image."""
    found, decode = [], images.decode

    def counted(content, **options):
        found.append(len(content))
        return decode(content, **options)

    monkeypatch.setattr(images, "decode", counted)
    return found


def _load(dataset: StoredDataset, decoding: reading.Decoding | None = DECODING) -> Any:
    said = []
    return pixel_cache.load(dataset, decoding, say=said.append), said


def _files(dataset: StoredDataset) -> dict[str, Path]:
    paths = (dataset.path / pixel_cache.FOLDER).iterdir()
    return {path.name.partition("-")[0]: path for path in paths}


def _assert_same(found, expected):
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert found.unreadable == expected.unreadable
    for name in COLUMNS:
        left, right = getattr(found.faces, name), getattr(expected.faces, name)
        np.testing.assert_array_equal(left, right)
        assert left.dtype == right.dtype
    assert found.faces.fingerprint == expected.faces.fingerprint


def test_the_second_start_decodes_nothing_and_sees_the_same(dataset, decodes):
    plain = reading.load(dataset, DECODING)
    decodes.clear()
    first, said = _load(dataset)
    assert len(decodes) == 160
    assert said == []
    done = []
    second = pixel_cache.load(dataset, DECODING, progress=done.append)
    assert len(decodes) == 160
    assert done == [160]
    _assert_same(first, plain)
    _assert_same(second, plain)
    assert isinstance(second.pixels, np.ndarray)
    assert not second.pixels.flags.writeable


def test_labels_alone_need_no_record_the_second_time(dataset, monkeypatch):
    first, _ = _load(dataset, None)
    assert set(_files(dataset)) == {"labels"}
    monkeypatch.setattr(StoredDataset, "examples", None)  # reading a record now fails
    second, said = _load(dataset, None)
    assert second.pixels is None
    assert said == []
    assert second.faces.fingerprint == first.faces.fingerprint


def test_images_that_do_not_decode_stay_known(dataset, monkeypatch):
    decode, calls = images.decode, []

    def spoiled(content, **options):
        calls.append(1)
        if len(calls) % 50 == 0:
            raise images.BadImageError("truncated")
        return decode(content, **options)

    monkeypatch.setattr(images, "decode", spoiled)
    first, _ = _load(dataset)
    assert len(first.unreadable) == 3
    second, _ = _load(dataset)
    _assert_same(second, first)


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def _longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def _flipped(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": _cut,
    "longer": _longer,
    "magic": lambda path: _flipped(path, 0),
    "length": lambda path: _flipped(path, 22),
    "header": lambda path: _flipped(path, 30),
    "middle": lambda path: _flipped(path, path.stat().st_size // 2),
    "last": lambda path: _flipped(path, -1),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_said_and_made_anew(dataset, damage, decodes):
    first, _ = _load(dataset)
    DAMAGE[damage](_files(dataset)["pixels"])
    again, said = _load(dataset)
    assert len(said) == 1
    assert f"{_files(dataset)['pixels']} is damaged (" in said[0]
    assert len(decodes) == 320
    _assert_same(again, first)
    third, said = _load(dataset)
    assert said == []
    assert len(decodes) == 320
    _assert_same(third, first)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b"null", b"[" * 100_000, b'{"keys": 3}', b"\xff\xfe", b"1" * 5000],
)
def test_a_damaged_table_is_said_and_made_anew(dataset, content):
    first, _ = _load(dataset, None)
    _files(dataset)["labels"].write_bytes(content)
    again, said = _load(dataset, None)
    assert len(said) == 1
    assert "is damaged (" in said[0]
    assert again.faces.fingerprint == first.faces.fingerprint
    assert _load(dataset, None)[1] == []


def test_a_table_with_another_label_is_damaged(dataset):
    _load(dataset, None)
    path = _files(dataset)["labels"]
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"(25, 32)"', b'"(38, 43)"', 1))
    assert path.read_bytes() != content
    assert "is not what was written" in _load(dataset, None)[1][0]


def test_other_decodings_have_files_of_their_own(dataset):
    _load(dataset)
    for other in (reading.Decoding(24, "bilinear"), reading.Decoding(20, "area")):
        loaded, _ = _load(dataset, other)
        np.testing.assert_array_equal(loaded.pixels, reading.load(dataset, other).pixels)
    names = [path.name for path in (dataset.path / pixel_cache.FOLDER).iterdir()]
    assert len(names) == 4


def test_a_dataset_that_was_built_anew_is_read_anew_and_old_files_go(dataset, decodes):
    _load(dataset)
    old = set(_files(dataset).values())
    record = next(dataset.path.glob("*.array_record*"))
    os.utime(record, ns=(1, 1))
    _load(dataset)
    assert len(decodes) == 320
    new = set(_files(dataset).values())
    assert len(new) == 2
    assert not old & new


def test_other_decoders_decode_anew_and_take_the_place(dataset, decodes, monkeypatch):
    _load(dataset)
    old = _files(dataset)
    monkeypatch.setattr(pixel_cache.Image, "__version__", "0.0.1")
    _load(dataset)
    assert len(decodes) == 320
    assert _files(dataset)["pixels"] != old["pixels"]
    assert _files(dataset)["labels"] == old["labels"]


def test_a_folder_that_cannot_be_written_does_no_harm(dataset, decodes):
    expected = reading.load(dataset, DECODING)
    (dataset.path / pixel_cache.FOLDER).write_text("a file where the folder would be")
    for _ in range(2):
        loaded, said = _load(dataset)
        _assert_same(loaded, expected)
        assert len(said) >= 1
        assert "every start reads and decodes again" in said[-1]
    assert len(decodes) == 480


def test_a_full_disk_is_said_before_anything_is_written(dataset, monkeypatch):
    usage = shutil.disk_usage(dataset.path)
    monkeypatch.setattr(pixel_cache.shutil, "disk_usage", lambda path: usage._replace(free=10**9))
    loaded, said = _load(dataset)
    assert loaded.pixels is not None
    assert len(said) == 1
    assert "1.0 GB are free" in said[0]
    assert set(_files(dataset)) == {"labels"}


def test_a_disk_that_fills_up_leaves_nothing_half_written(dataset, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pixel_cache.os, "fsync", full)
    loaded, said = _load(dataset)
    assert loaded.pixels is not None
    assert "No space left on device" in said[0]
    assert list((dataset.path / pixel_cache.FOLDER).iterdir()) == []


def test_what_another_process_writes_is_left_to_it_unless_it_was_killed(dataset):
    _load(dataset)
    pixels = _files(dataset)["pixels"]
    partial = pixels.with_name(f"{pixels.name}.partial")
    pixels.unlink()
    partial.write_bytes(b"half")
    _, said = _load(dataset)
    assert said == []
    assert not pixels.exists()
    assert partial.read_bytes() == b"half"
    os.utime(partial, (1, 1))
    _load(dataset)
    assert pixels.exists()
    assert not partial.exists()


def _start(path: Path, barrier, answers) -> None:
    barrier.wait()
    loaded, said = _load(StoredDataset(path))
    answers.put((int(loaded.pixels.sum()), said))


def test_two_processes_at_once(dataset):
    context = multiprocessing.get_context("spawn")  # JAX has threads
    barrier, answers = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=_start, args=(dataset.path, barrier, answers)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    found = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    plain: Any = reading.load(dataset, DECODING).pixels
    expected = int(plain.sum())
    assert found == [(expected, [])] * 2
    loaded, said = _load(dataset)
    assert int(loaded.pixels.sum()) == expected
    assert said == []
    assert set(_files(dataset)) == {"labels", "pixels"}


@pytest.mark.parametrize(("keeps", "decoded"), [(True, 160), (False, 320)])
def test_a_run_prepares_unless_it_is_told_not_to(
    dataset, small_config, tmp_path, decodes, monkeypatch, keeps, decoded
):
    monkeypatch.setattr(find, "open_dataset", lambda *args, **kwargs: StoredDataset(dataset.path))
    values = {"data.prepared": keeps, "data.placement": "host", "folds": (0,), "steps": 2}
    config = replaced(small_config, **values)
    for name in ("first", "second"):
        cross_validation.run(config, tmp_path / name, say=lambda line: None)
    assert len(decodes) == decoded
    assert (dataset.path / pixel_cache.FOLDER).exists() == keeps
    results = [(tmp_path / name / "fold_0" / "predictions.csv") for name in ("first", "second")]
    assert results[0].read_text() == results[1].read_text()
