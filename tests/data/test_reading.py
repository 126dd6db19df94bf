import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ageflax import labels
from ageflax.data import reading
from ageflax.data.building import find
from ageflax.data.dataset import StoredDataset
from ageflax.errors import InputError
from tests.conftest import SMALL_FACES

DECODING = reading.Decoding(32, "bilinear")


def test_pixels_are_the_stored_jpegs_decoded(small_faces):
    loaded = reading.load(small_faces, DECODING)
    example = small_faces.examples([37])[0]
    expected = np.asarray(Image.open(io.BytesIO(example["image"])).convert("RGB"))
    assert loaded.pixels is not None
    np.testing.assert_array_equal(loaded.pixels[37], expected)
    assert loaded.faces.keys[37] == example["key"].decode()
    assert loaded.unreadable == {}


def test_labels_alone_are_the_same_labels(small_faces):
    alone, both = reading.load(small_faces, None), reading.load(small_faces, DECODING)
    assert alone.pixels is None
    for field in ("keys", "subjects", "folds", "age_labels", "ages", "genders"):
        np.testing.assert_array_equal(getattr(alone.faces, field), getattr(both.faces, field))
    assert len(set(alone.faces.keys)) == len(small_faces) == 160
    assert np.bincount(alone.faces.folds).tolist() == [32] * 5
    groups = alone.faces.target("age", policy="strict").classes
    assert set(groups.tolist()) == set(range(len(labels.AGE_GROUPS)))


def test_progress_adds_up(small_faces):
    done = []
    reading.load(small_faces, None, progress=done.append)
    assert sum(done) == 160


class Spoiled(StoredDataset):
    """A dataset whose rows 5 and 100 no longer decode."""

    def examples(self, rows):
        spoiled = {5: b"", 100: b"<html>"}
        return [
            example | {"image": spoiled.get(int(row), example["image"])}
            for row, example in zip(rows, super().examples(rows), strict=True)
        ]


def test_images_that_no_longer_decode_are_counted_by_reason(small_faces):
    loaded = reading.load(Spoiled(small_faces.path), DECODING)
    assert loaded.unreadable == {5: "empty", 100: "not an image"}
    assert loaded.pixels is not None
    assert not loaded.pixels[5].any()
    pixels, readable = reading.StoredPixels(Spoiled(small_faces.path), DECODING)(
        np.array([4, 5, 6])
    )
    assert readable.tolist() == [True, False, True]
    np.testing.assert_array_equal(pixels[0], loaded.pixels[4])


def test_a_dataset_pickles_as_its_path(small_faces):
    copy = pickle.loads(pickle.dumps(small_faces))  # noqa: S301
    assert copy.examples([3])[0]["key"] == small_faces.examples([3])[0]["key"]
    assert len(pickle.dumps(small_faces)) < 1000


def test_a_tfrecord_build_is_refused_with_the_command_that_converts_it(small_faces, tmp_path):
    folder = tmp_path / "synthetic_faces" / "default" / "1.0.0"
    folder.mkdir(parents=True)
    info = (small_faces.path / "dataset_info.json").read_text()
    (folder / "dataset_info.json").write_text(info.replace("array_record", "tfrecord"))
    with pytest.raises(InputError) as error:
        find.open_dataset("synthetic_faces", directory=str(tmp_path), say=lambda line: None)
    assert "is built as tfrecord, which training cannot read" in str(error.value)
    assert (
        f"tfds convert_format --dataset_version_dir={folder} --out_file_format=array_record"
        in str(error.value)
    )


def test_the_newest_version_is_opened(small_faces, tmp_path):
    base = tmp_path / Path(SMALL_FACES)
    base.mkdir(parents=True)
    for version in ("1.0.0", "1.2.0", "1.10.0"):
        (base / version).symlink_to(small_faces.path)
    opened = find.open_dataset(SMALL_FACES, directory=str(tmp_path), say=lambda line: None)
    assert opened.path == base / "1.10.0"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("adiense/aligned", "data.name = 'adiense/aligned': no dataset 'adiense'; did you mean 'adience'?"),
        ("zzz", "no dataset 'zzz'; known: adience, "),
        ("synthetic_faces/nonsense", "nonsense"),
    ],
)  # fmt: skip
def test_an_unknown_dataset_is_named(name, message, tmp_path):
    with pytest.raises(InputError) as error:
        find.open_dataset(name, directory=str(tmp_path), say=lambda line: None)
    assert message in str(error.value)


def test_absent_archives_are_told_with_the_way_to_get_them(tmp_path):
    with pytest.raises(InputError) as error:
        find.open_dataset("adience/aligned", directory=str(tmp_path), say=lambda line: None)
    text = str(error.value)
    assert f"are not in {tmp_path}/downloads/manual" in text
    assert "configs/quickstart.py" in text


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        InputError, match=r"data.dir=.*/file/data: cannot be written: Not a directory"
    ):
        find.open_dataset(SMALL_FACES, directory=str(tmp_path / "file/data"), say=lambda line: None)
