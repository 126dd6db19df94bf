import importlib.util
import math
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from ageflax.data import images
from ageflax.data.building.find import open_dataset
from ageflax.data.reading import Decoding, load
from ageflax.errors import InputError
from tests.support.built_dataset import examples, metadata
from tfds_builders.labeled_faces.dummy_build import build, draw, encode, lay_out
from tfds_builders.labeled_faces.labeled_faces_dataset_builder import Builder


@pytest.fixture
def manual_dir(tmp_path: Path) -> Path:
    """Six valid rows of five subjects."""
    return lay_out(tmp_path / "manual")


def test_examples(manual_dir: Path):
    builder = build(manual_dir)
    found = examples(builder)
    assert {key: (e["subject"], e["gender"]) for key, e in found.items()} == {
        "a.png": ("Ann", 0),
        "b.png": ("Bob", 1),
        "c.png": ("Cid", 0),
        "d.png": ("Dan", 1),
        "e.png": ("Eve", -1),
        "f.png": ("Ann", 0),
    }
    assert found["b.png"]["age"] == np.float32(31.5)
    assert math.isnan(found["c.png"]["age"])
    assert {e["age_label"] for e in found.values()} == {""}
    for key, example in found.items():
        assert example["image"] == (manual_dir / key).read_bytes()
    assert found["a.png"]["split"] == found["f.png"]["split"]
    assert {example["split"] for example in found.values()} == {f"fold_{k}" for k in range(5)}


def test_no_subject_is_in_two_splits_and_given_folds_are_kept(tmp_path: Path):
    rows = ["subject;fold;path;age_group", *(f"{n};;{n}.png;25-32" for n in "abcd")]
    builder = build(
        lay_out(tmp_path / "manual", [*rows, "e;4;e.png;(0, 2)", ";0;f.png;more than 30"])
    )
    found = examples(builder)
    assert found["e.png"]["split"] == "fold_4"
    assert found["f.png"]["split"] == "fold_0"
    assert found["f.png"]["subject"] == "face of f.png"
    assert found["f.png"]["age_label"] == "more than 30"
    assert metadata(builder)["examples_with_a_given_fold"] == 2


def test_what_lies_beside_the_records(manual_dir: Path, capsys: pytest.CaptureFixture[str]):
    builder = build(manual_dir)
    folder = Path(builder.data_path)
    assert sorted(path.name for path in folder.iterdir()) == [
        "LICENSE",
        "dataset_info.json",
        "features.json",
        "gender.labels.txt",
        *(f"labeled_faces-fold_{k}.array_record-00000-of-00001" for k in range(5)),
        "metadata.json",
        "rejected.csv",
        "source_files.csv",
    ]
    assert (folder / "rejected.csv").read_text() == "line,path,reason,detail\n"
    saved = metadata(builder)
    assert saved["edition"].startswith("labels.csv, md5 ")
    assert "only its maker knows" in saved["licence"]
    del saved["edition"], saved["licence"], saved["source"]
    assert saved == {
        "columns": ["path", "age", "gender", "subject"],
        "columns_read_as": {},
        "columns_ignored": [],
        "delimiter": "comma",
        "rows": 6,
        "rejected": {},
        "examples": 6,
        "examples_by_fold": [2, 1, 1, 1, 1],
        "examples_with_a_given_fold": 0,
        "subjects": 5,
        "subjects_given": "all",
        "without_subject": 0,
        "subjects_notice": "",
        "identical_images": {"groups": 0, "records": 0, "groups_with_conflicting_labels": 0},
        "with_age": 5,
        "with_age_group": 0,
        "genders": {"female": 3, "male": 2, "unknown": 1},
    }
    said = [line for line in capsys.readouterr().err.splitlines() if "labeled_faces: " in line]
    assert said == [
        "labeled_faces: notice: age unknown for 1, gender unknown for 1 of 6 faces; they count for "
        "their other labels"
    ]


def test_identical_pictures_of_nobody_named_are_in_one_fold(tmp_path: Path):
    folder = lay_out(tmp_path / "manual", ["path,age", *(f"{name}.png,{30}" for name in "abcdefg")])
    (folder / "g.png").write_bytes((folder / "a.png").read_bytes())
    builder = build(folder)
    found = examples(builder)
    assert found["g.png"]["subject"] == found["a.png"]["subject"] == "face of a.png"
    assert found["g.png"]["split"] == found["a.png"]["split"]
    assert metadata(builder)["identical_images"]["groups"] == 1


PICTURE = Image.fromarray(draw(0, 40))


def _rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encode(PICTURE, "JPEG", exif=exif)


FORMATS = {
    "rotated.jpg": _rotated(),
    "cmyk.jpg": encode(PICTURE.convert("CMYK"), "JPEG"),
    "grey.jpg": encode(PICTURE.convert("L"), "JPEG"),
    "progressive.jpg": encode(PICTURE, "JPEG", progressive=True),
    "sixteen_bit.png": encode(Image.fromarray(draw(1, 40)[..., 0].astype(np.uint16) * 257)),
    "palette.png": encode(PICTURE.convert("P", palette=Image.Palette.ADAPTIVE)),
    "alpha.png": encode(PICTURE.convert("RGBA")),
    "lossless.webp": encode(PICTURE, "WEBP", lossless=True),
    "animated.webp": encode(
        PICTURE, "WEBP", save_all=True, append_images=[Image.new("RGB", (40, 40))]
    ),
    "animated.gif": encode(
        PICTURE, "GIF", save_all=True, append_images=[Image.new("RGB", (40, 40))]
    ),
    "plain.bmp": encode(PICTURE, "BMP"),
    "plain.tiff": encode(PICTURE, "TIFF"),
    "wide.png": encode(Image.fromarray(np.tile(draw(2, 40), (1, 500, 1)))),
}


@pytest.mark.filterwarnings("ignore:::PIL")
def test_images_of_every_format_are_stored_as_they_are_and_read_back(tmp_path: Path):
    folder = tmp_path / "manual"
    folder.mkdir()
    for name, content in FORMATS.items():
        (folder / name).write_bytes(content)
    (folder / "labels.csv").write_text(
        "path,gender,subject\n" + "".join(f"{name},f,{name}\n" for name in FORMATS)
    )
    found = examples(build(folder))
    assert {key: example["image"] for key, example in found.items()} == FORMATS
    dataset = open_dataset("labeled_faces", directory=str(tmp_path / "built"), say=print)
    loaded = load(dataset, Decoding(20, "area"))
    assert loaded.unreadable == {}
    assert loaded.pixels is not None
    for key, pixels in zip(loaded.faces.keys, loaded.pixels, strict=True):
        decoded = images.decode(FORMATS[key])
        np.testing.assert_array_equal(pixels, images.resize(decoded, 20, interpolation="area"))
    assert images.decode(FORMATS["wide.png"]).shape == (40, 20_000, 3)


def test_a_named_dataset_is_built_from_the_subfolder_of_its_name(tmp_path: Path):
    lay_out(tmp_path / "manual" / "ours")
    builder = build(tmp_path / "manual", "ours")
    assert builder.info.full_name == "labeled_faces/ours/1.0.0"
    assert len(examples(builder)) == 6
    # Or from the folder itself, where the subfolder has none.
    other = build(lay_out(tmp_path / "alone"), "theirs", data_dir=tmp_path / "other")
    assert len(examples(other)) == 6


def test_training_finds_and_builds_it(manual_dir: Path, tmp_path: Path):
    said = []
    dataset = open_dataset(
        "labeled_faces/mine",
        directory=str(tmp_path / "built"),
        manual_dir=str(manual_dir),
        say=said.append,
    )
    assert len(dataset) == 6
    assert said == [f"building labeled_faces/mine/1.0.0 in {tmp_path}/built"]


def test_training_without_it_says_what_to_write(tmp_path: Path):
    with pytest.raises(InputError) as caught:
        open_dataset("labeled_faces", directory=str(tmp_path), say=print)
    assert "Write labels.csv into the folder of your photographs" in str(caught.value)


def test_the_same_folder_gives_the_same_dataset(manual_dir: Path, tmp_path: Path):
    first = examples(build(manual_dir, data_dir=tmp_path / "one"))
    second = examples(build(manual_dir, data_dir=tmp_path / "two"))
    np.testing.assert_equal(second, first)


# TFDS's own test of a builder needs these two; the tests above need neither.
if all(importlib.util.find_spec(name) for name in ("tensorflow", "dill")):

    class LabeledFacesTest(tfds.testing.DatasetBuilderTestCase):
        DATASET_CLASS = Builder
        SPLITS = dict.fromkeys((f"fold_{k}" for k in range(1, 5)), 1) | {"fold_0": 2}
        MOCK_OUT_FORBIDDEN_OS_FUNCTIONS = False  # TFDS wants paths on clouds; these lie on a disk

        @classmethod
        def setUpClass(cls):
            cls._drawn = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
            cls.EXAMPLE_DIR = lay_out(cls._drawn / "manual")
            super().setUpClass()

        def _make_builder(  # pyright: ignore[reportIncompatibleMethodOverride]
            self, config=None
        ):
            # TFDS's test reads by TensorFlow, which does not read array_record.
            return Builder(data_dir=self.tmp_dir, config=config, file_format="tfrecord")
