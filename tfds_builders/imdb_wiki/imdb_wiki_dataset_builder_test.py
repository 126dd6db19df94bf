import csv
import importlib.util
import math
import os
import pickle
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from ageflax.data.building import source
from ageflax.errors import InputError
from tests.support.built_dataset import examples
from tests.support.built_dataset import metadata as saved_metadata
from tfds_builders.imdb_wiki import crops, imdb_wiki_dataset_builder, metadata, records
from tfds_builders.imdb_wiki.conftest import IMDB, REJECTED, WIKI
from tfds_builders.imdb_wiki.dummy_tree import (
    Builder,
    Face,
    build,
    fields,
    jpeg,
    lay_out,
    mat,
    pack,
)
from tfds_builders.imdb_wiki.imdb_wiki_dataset_builder import ImdbWikiConfig


def listing(builder: Builder) -> list[dict[str, str]]:
    with (Path(builder.data_path) / "rejected.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_examples(manual_dir: Path):
    found = examples(build(manual_dir))
    assert found.keys() == {f"wiki/{face.path}" for face in WIKI}
    example = found["wiki/00/0_1980-07-01_2010.jpg"]
    assert example["image"] == jpeg(0)
    assert example["subject"] == "personno0"
    assert example["age_label"] == ""
    assert example["age"] == 29.0
    assert example["gender"] == 0
    assert example["face_score"] == 3.0
    assert math.isnan(example["second_face_score"])
    assert example["photo_year"] == 2010
    assert found["wiki/09/10.jpg"]["age"] == 30.0  # born on 30 June
    assert found["wiki/09/9.jpg"]["gender"] == 1


def located(manual_dir: Path, config: str = "wiki") -> source.Place:
    place = Builder.find_source(manual_dir, config)
    assert place is not None
    return place


def test_the_files_read_are_recorded_and_an_archive_of_them_is_the_same(manual_dir, tmp_path):
    builder = build(manual_dir)
    recorded = saved_metadata(builder)["source"]
    assert (recorded["name"], recorded["path"]) == ("IMDB-WIKI", str(manual_dir))
    place = located(manual_dir)
    assert source.compare(Path(builder.data_path), place) == source.Difference([], [])
    archive = pack(manual_dir)
    place = located(manual_dir)
    assert place.images == {"wiki_crop": archive}
    assert source.compare(Path(builder.data_path), place) == source.Difference([], [])
    again = build(manual_dir, data_dir=tmp_path / "two")
    assert saved_metadata(again)["source"] == recorded
    archive.write_bytes(archive.read_bytes() + bytes(512))
    difference = source.compare(Path(again.data_path), place)
    assert difference.changes[0].startswith("wiki_crop.tar differs (last changed on ")
    archive.unlink()
    pack(manual_dir, "imdb").rename(manual_dir / "imdb_crop.tar")
    assert Builder.find_source(manual_dir, "wiki") is None
    assert located(manual_dir, "imdb_wiki").images.keys() == {"imdb_crop"}


def test_a_changed_list_or_image_is_noticed(manual_dir: Path):
    builder = build(manual_dir)
    folder = manual_dir / "wiki_crop"
    (folder / WIKI[3].path).write_bytes(b"")
    (folder / REJECTED["no face"].path).write_bytes(b"")  # not read by this config
    place = located(manual_dir)
    changes = source.compare(Path(builder.data_path), place).changes
    assert changes == [f"1 of 11 images differ, the first: wiki_crop/{WIKI[3].path}"]
    (folder / "wiki.mat").write_bytes(mat(fields(WIKI[1:], "wiki"), "wiki"))
    changes = source.compare(Path(builder.data_path), place).changes
    assert changes[0].startswith("wiki.mat differs (last changed on ")


def test_no_subject_is_in_two_folds(manual_dir: Path):
    found = examples(build(manual_dir, "imdb_wiki"))
    assert len(found) == len(WIKI) + len(IMDB)
    folds: dict[str, set[str]] = {}
    for example in found.values():
        folds.setdefault(example["subject"], set()).add(example["split"])
    assert all(len(splits) == 1 for splits in folds.values())
    # One subject under two spellings; one subject in both databases.
    first, second = found["wiki/00/0_1980-07-01_2010.jpg"], found["wiki/09/10.jpg"]
    assert (first["subject"], first["split"]) == (second["subject"], second["split"])
    assert found["imdb/01/nm1.jpg"]["split"] == found["wiki/09/9.jpg"]["split"]


def test_folds_are_of_equal_size_and_always_the_same(tmp_path: Path):
    faces = [Face(f"00/{k}.jpg", f"Person {k // 2}") for k in range(100)]
    lay_out(tmp_path / "manual", faces)
    first = build(tmp_path / "manual", data_dir=tmp_path / "one")
    second = build(tmp_path / "manual", data_dir=tmp_path / "two")
    assert [info.num_examples for info in first.info.splits.values()] == [20] * 5
    np.testing.assert_equal(examples(second), examples(first))


def test_rejected_records_are_listed_and_the_counts_add_up(manual_dir: Path):
    builder = build(manual_dir)
    assert {row["reason"]: row["key"] for row in listing(builder)} == {
        reason: f"wiki/{face.path}" for reason, face in REJECTED.items()
    }
    saved = saved_metadata(builder)
    assert saved["records"] == 17
    assert saved["examples"] == 11
    assert saved["rejected"] == dict.fromkeys(REJECTED, 1)
    assert saved["examples"] + sum(saved["rejected"].values()) == saved["records"]
    assert sum(saved["examples_by_fold"]) == 11
    assert saved["subjects"] == 10
    assert saved["genders"] == {"female": 10, "male": 1}
    assert saved["databases"]["wiki"]["images"]["read_from"] == "folder wiki_crop"
    assert "academic research only" in saved["licence"]


def test_raw_keeps_everything_readable_and_the_scores(manual_dir: Path):
    (manual_dir / "wiki_crop/10/b.jpg").write_bytes(b"no image")
    builder = build(manual_dir, "wiki_raw")
    found = examples(builder)
    assert len(found) == 16
    assert [(row["key"], row["reason"]) for row in listing(builder)] == [
        ("wiki/10/b.jpg", "not an image")
    ]
    assert found["wiki/10/a.jpg"]["face_score"] == -math.inf
    assert found["wiki/10/c.jpg"]["second_face_score"] == 1.5
    assert found["wiki/10/d.jpg"]["gender"] == -1
    assert math.isnan(found["wiki/10/e.jpg"]["age"])
    assert found["wiki/10/f.jpg"]["age"] == 119.0
    assert found["wiki/10/f.jpg"]["photo_year"] == 2100


def test_the_rule_looks_at_no_pixels_and_washing_does(manual_dir: Path):
    blank = {"00/0_1980-07-01_2010.jpg": (9, 9), "01/1_1980-07-01_2010.jpg": (1, 1)}
    for path, size in blank.items():
        (manual_dir / "wiki_crop" / path).write_bytes(jpeg(0, size, black=True))
    usual = build(manual_dir)
    assert len(examples(usual)) == len(WIKI)
    assert saved_metadata(usual)["thresholds"]["all_zero_allowed"] is True
    washed = build(manual_dir, "wiki_washed")
    assert len(examples(washed)) == len(WIKI) - 2
    reasons = saved_metadata(washed)["rejected"]
    assert {reasons[name] for name in ("too small", "all zero")} == {1}


@pytest.mark.parametrize("config", ["wiki", "imdb_wiki_raw"])
def test_archives_equal_folders(manual_dir: Path, config: str):
    from_folders = examples(build(manual_dir, config, manual_dir.parent / "one"))
    for database in ("wiki", "imdb"):
        pack(manual_dir, database)
    builder = build(manual_dir, config, manual_dir.parent / "two")
    np.testing.assert_equal(examples(builder), from_folders)
    origin = saved_metadata(builder)["databases"]["wiki"]["images"]
    assert origin["read_from"] == "archive wiki_crop.tar"
    assert origin["archive_md5_is_the_published_one"] is False
    assert origin["downloaded"] is False


def test_a_path_that_occurs_twice_gets_two_keys(tmp_path: Path):
    (tmp_path / "wiki_crop").mkdir()
    content = mat(fields([Face("0/a.jpg"), Face("0/b.jpg"), Face("0/a.jpg")], "wiki"), "wiki")
    named = metadata.read(content, database="wiki", name="x.mat")
    source = records.Source(named, crops.find(tmp_path, "wiki"))
    assert records.tabulate([source]).keys == ["wiki/0/a.jpg", "wiki/0/b.jpg", "wiki/0/a.jpg#2"]


def test_all_configs_means_the_small_one(tmp_path: Path):
    assert [config.name for config in Builder.BUILDER_CONFIGS] == ["wiki"]
    assert Builder(data_dir=tmp_path).builder_config.name == "wiki"  # pyright: ignore
    for name in imdb_wiki_dataset_builder._CONFIGS:
        assert Builder(data_dir=tmp_path, config=name).info.full_name == f"imdb_wiki/{name}/1.0.0"


def test_thresholds_are_config(manual_dir: Path, tmp_path: Path):
    # As the tfds command makes it of --config='{"name": ..., "thresholds": {...}}'.
    config = ImdbWikiConfig(name="wiki_young", thresholds={"max_age": 29})  # pyright: ignore
    built = Builder(config=config, data_dir=tmp_path)
    download = tfds.download.DownloadConfig(manual_dir=manual_dir)
    built.download_and_prepare(download_config=download)
    ages = [example["age"] for example in examples(built).values()]
    usual = [example["age"] for example in examples(build(manual_dir)).values()]
    assert max(ages) <= 29 < max(usual)
    assert len(ages) == sum(age <= 29 for age in usual)
    counts = [len(listing(builder)) for builder in (built, build(manual_dir))]
    assert counts[0] - counts[1] == len(usual) - len(ages)


def test_a_threshold_that_there_is_not_is_named():
    with pytest.raises(InputError, match="washing: no threshold min_agee; known: min_age, max_age"):
        ImdbWikiConfig(name="x", thresholds={"min_agee": 3})  # pyright: ignore
    with pytest.raises(InputError, match="washing: min_age = 'old': expected float"):
        ImdbWikiConfig(name="x", thresholds={"min_age": "old"})  # pyright: ignore
    with pytest.raises(InputError, match="imdb_wiki: no database wikii; use wiki or imdb"):
        ImdbWikiConfig(name="x", databases=("wikii",))


def test_an_unknown_config_names_the_known_ones(tmp_path: Path):
    with pytest.raises(
        InputError, match=r"imdb_wiki/nope: no such config; use wiki, imdb, imdb_wiki, wiki_raw"
    ):
        Builder(config="nope", data_dir=tmp_path)


def test_a_shard_is_sent_to_a_worker_without_the_rest(manual_dir: Path):
    sources = []
    for database in ("imdb", "wiki"):
        pack(manual_dir, database)
        found = crops.find(manual_dir, database)
        content = crops.read_metadata(found, database)
        named = metadata.read(content, database=database, name="x.mat")
        sources.append(records.Source(named, found))
    table = records.tabulate(sources)
    shard = records.Shard(table, [7, 0, 12, 3])
    sent = pickle.loads(pickle.dumps(shard))  # noqa: S301
    np.testing.assert_equal(list(sent()), list(shard()))
    assert len(sent.table) == 4
    assert sum(len(source.crops.source.archive.places) for source in sent.table.sources) == 4


@pytest.mark.skipif(not importlib.util.find_spec("apache_beam"), reason="needs the tfds extra")
def test_beam_builds_the_same(manual_dir: Path):
    pipeline_options: Any = importlib.import_module("apache_beam.options.pipeline_options")
    here = examples(build(manual_dir, "imdb_wiki_raw", manual_dir.parent / "one"))
    builder = Builder(config="imdb_wiki_raw", data_dir=manual_dir.parent / "two")
    options = pipeline_options.PipelineOptions(["--runner=DirectRunner"])
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=manual_dir, beam_options=options)
    )
    np.testing.assert_equal(examples(builder), here)


@pytest.fixture
def real_data() -> Path:
    """Folder of the real wiki.mat, where there is one."""
    folder = os.environ.get("AGEFLAX_REAL_DATA")
    if not folder:
        pytest.skip("AGEFLAX_REAL_DATA names no folder of real data")
    return Path(folder) / "imdb_wiki"


def _plain(name: str) -> str:
    """A name as somebody else would normalise it."""
    letters = unicodedata.normalize("NFKD", name)
    return "".join(one for one in letters if not unicodedata.combining(one)).strip().lower()


@pytest.mark.long
def test_the_real_wiki_is_the_published_list(real_data: Path, tmp_path: Path):
    folder = tmp_path / "manual" / "wiki_crop"
    folder.mkdir(parents=True)
    (folder / "wiki.mat").symlink_to(real_data / "wiki.mat")
    content = (real_data / "wiki.mat").read_bytes()
    source = metadata.read(content, database="wiki", name="wiki.mat")
    for number, path in enumerate(source.paths):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(jpeg(number))
    found = examples(build(tmp_path / "manual"))
    with (real_data / "wiki_clean_reference.csv").open(newline="") as file:
        expected = {
            f"wiki/{row['img_paths']}": (float(row["ages"]), int(row["genders"]))
            for row in csv.DictReader(file)
        }
    assert len(expected) == 38_138
    assert {key: (one["age"], one["gender"]) for key, one in found.items()} == expected
    folds: dict[str, set[str]] = {}
    for path, name in zip(source.paths, source.names, strict=True):
        if name and (one := found.get(f"wiki/{path}")):
            folds.setdefault(_plain(name), set()).add(one["split"])
    assert len(folds) > 37_000
    assert all(len(splits) == 1 for splits in folds.values())
