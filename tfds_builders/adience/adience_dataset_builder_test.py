import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from ageflax.errors import InputError
from tests.support.built_dataset import examples, metadata
from tfds_builders.adience import adience_dataset_builder, fold_files, photographs
from tfds_builders.adience.dummy_build import build, pack

Builder = adience_dataset_builder.Builder
SPLITS = {"fold_0": 2, "fold_1": 2, "fold_2": 2, "fold_3": 2, "fold_4": 2}

# TFDS's own test of a builder needs these two; the tests below it need neither.
if all(importlib.util.find_spec(name) for name in ("tensorflow", "dill")):

    class AdienceTest(tfds.testing.DatasetBuilderTestCase):
        DATASET_CLASS = Builder
        SPLITS = SPLITS
        # TFDS wants paths on clouds; Adience lies on a disk.
        MOCK_OUT_FORBIDDEN_OS_FUNCTIONS = False
        BUILDER_CONFIG_NAMES_TO_TEST = [  # noqa: RUF012
            adience_dataset_builder.ALIGNED,
            adience_dataset_builder.FACES,
        ]

        def _make_builder(  # pyright: ignore[reportIncompatibleMethodOverride]
            self, config=None
        ):
            # TFDS's test reads by TensorFlow, which does not read array_record.
            return Builder(data_dir=self.tmp_dir, config=config, file_format="tfrecord")


def test_examples(manual_dir: Path):
    builder = build(manual_dir)
    found = examples(builder)
    assert {split: info.num_examples for split, info in builder.info.splits.items()} == SPLITS
    assert len(found) == 10
    example = found["1001@N01/1.101_a_o.jpg"]
    stored = manual_dir / "aligned/1001@N01/landmark_aligned_face.1.101_a_o.jpg"
    assert example["image"] == stored.read_bytes()
    assert example["subject"] == "1"
    assert example["age_label"] == "(25, 32)"
    assert math.isnan(example["age"])
    assert example["gender"] == 0
    assert example["split"] == "fold_0"
    assert {key: (e["age_label"], e["gender"]) for key, e in found.items()} == {
        "1001@N01/1.101_a_o.jpg": ("(25, 32)", 0),
        "1001@N01/2.102_b_o.jpg": ("(0, 2)", -1),
        "1002@N02/3.201_a_o.jpg": ("(8, 12)", 1),
        "1002@N02/4.202_b_o.jpg": ("35", 0),
        "1003@N03/5.301_a_o.jpg": ("(38, 43)", 1),
        "1003@N03/6.301_a_o.jpg": ("(60, 100)", 0),
        "1004@N04/7.401_a_o.jpg": ("None", 1),
        "1005@N05/8.402_b_o.jpg": ("(4, 6)", -1),
        "1006@N06/9.501_a_o.jpg": ("(15, 20)", 0),
        "1006@N06/9.502_b_o.jpg": ("(15, 20)", 0),
    }


def test_no_subject_and_no_key_is_in_two_splits(manual_dir: Path):
    where: dict[str, set[str]] = {}
    for example in examples(build(manual_dir)).values():
        where.setdefault(example["subject"], set()).add(example["split"])
    assert all(len(splits) == 1 for splits in where.values())


def test_what_lies_beside_the_records(manual_dir: Path, capsys: pytest.CaptureFixture[str]):
    builder = build(manual_dir)
    folder = Path(builder.data_path)
    assert sorted(path.name for path in folder.iterdir()) == [
        "LICENSE",
        *(f"adience-fold_{k}.array_record-00000-of-00001" for k in range(5)),
        "dataset_info.json",
        "features.json",
        "gender.labels.txt",
        "metadata.json",
        "source_files.csv",
        "unreadable.csv",
    ]
    assert (folder / "unreadable.csv").read_text() == (
        "path,fold,reason,subject,age_label,gender\n"
    )
    saved = metadata(builder)
    assert (saved["source"]["name"], saved["source"]["path"]) == ("Adience", str(manual_dir))
    assert saved["edition"].startswith("unknown (md5 ")
    assert set(saved["fold_file_md5"]) == {f"fold_{k}_data.txt" for k in range(5)}
    assert saved["rows"] == 11
    assert saved["rows_by_fold"] == [3, 2, 2, 2, 2]
    assert saved["unique_images"] == 10
    assert saved["duplicate_rows"] == 1
    assert saved["duplicates_that_disagree"] == []
    assert saved["rejected"] == {}
    assert saved["subjects"] == 9
    assert saved["genders"] == {"female": 5, "male": 3, "unknown": 2}
    assert "form" in saved["licence"]
    assert "WARNING" not in capsys.readouterr().err
    assert tfds.builder_from_directory(folder).info.metadata == saved


@pytest.mark.parametrize("edition", ["server", "circulating"])
def test_the_edition_is_recorded(manual_dir, edition, monkeypatch, capsys):
    md5 = fold_files.read(manual_dir).md5
    monkeypatch.setitem(fold_files.EDITIONS, edition, md5)
    assert metadata(build(manual_dir))["edition"] == edition
    assert "adience:" not in capsys.readouterr().err


def test_an_unknown_edition_is_accepted_with_a_notice(manual_dir, capsys):
    build(manual_dir)
    assert (
        "adience: notice: not the fold files of a known edition of Adience; their md5 sums are "
        "recorded in metadata.json"
    ) in capsys.readouterr().err.splitlines()


def test_duplicates_that_disagree_are_reported(manual_dir, capsys):
    path = manual_dir / "fold_0_data.txt"
    first, second, third, fourth = path.read_text().splitlines()
    path.write_text("\n".join([first, second, third, fourth.replace("(25, 32)", "35")]))
    builder = build(manual_dir)
    key = "1001@N01/1.101_a_o.jpg"
    assert examples(builder)[key]["age_label"] == ""
    assert metadata(builder)["duplicates_that_disagree"] == [key]
    assert (
        "adience: notice: 1 images have rows that disagree on a label, which is taken as unknown "
        f"(first: {key}; all in metadata.json)"
    ) in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("config", ["aligned", "faces"])
def test_configs_read_their_own_crops(manual_dir: Path, config: str):
    found = examples(build(manual_dir, config))
    prefix = photographs.PREFIXES[config]
    stored = manual_dir / config / "1001@N01" / f"{prefix}.1.101_a_o.jpg"
    assert found["1001@N01/1.101_a_o.jpg"]["image"] == stored.read_bytes()


def test_all_configs_means_the_one_that_most_people_have(manual_dir: Path):
    assert [config.name for config in Builder.BUILDER_CONFIGS] == ["aligned"]
    assert Builder(data_dir=manual_dir.parent).builder_config is adience_dataset_builder.ALIGNED


def test_an_unknown_config_names_the_known_ones(tmp_path: Path):
    with pytest.raises(InputError, match="adience/nope: no such config; use aligned or faces"):
        Builder(config="nope", data_dir=tmp_path)


@pytest.mark.parametrize("prefix", ["", "./"])
@pytest.mark.parametrize("config", ["aligned", "faces"])
def test_archives_equal_folders(manual_dir: Path, config: str, prefix: str):
    from_folder = examples(build(manual_dir, config, manual_dir.parent / "one"))
    pack(manual_dir, config, prefix)
    builder = build(manual_dir, config, manual_dir.parent / "two")
    from_archive = examples(builder)
    np.testing.assert_equal(from_archive, from_folder)
    assert metadata(builder)["images"]["read_from"] == f"archive {config}.tar.gz"
    # What the archive was unpacked to is gone.
    assert [path.name for path in Path(builder.data_path).parent.iterdir()] == ["1.0.0"]


def test_a_built_dataset_is_used_again(manual_dir: Path, capsys: pytest.CaptureFixture[str]):
    build(manual_dir)
    capsys.readouterr()
    builder = build(manual_dir)
    assert len(examples(builder)) == 10
    assert "adience:" not in capsys.readouterr().err
