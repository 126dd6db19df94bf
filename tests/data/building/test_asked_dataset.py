"""A built dataset is held against the source files that a command asks for."""

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ageflax.data import pixel_cache, reading
from ageflax.data.building import find
from ageflax.data.building import source as of_files
from ageflax.errors import InputError
from ageflax.runtime import files
from tfds_builders.adience import dummy_build as adience
from tfds_builders.labeled_faces.dummy_build import ROWS, draw, encode, lay_out

NAME = "labeled_faces/mine"
REBUILD = "rebuild it with --config.data.rebuild=true, or name another data.dir"


class Command:
    """Opens a dataset as a command does, and keeps what it says."""

    def __init__(self, folder: Path, name: str = NAME):
        self.directory, self.name = folder / "built", name
        self.said: list[str] = []

    def __call__(self, manual_dir: Path | None = None, *, rebuild: bool = False):
        self.said.clear()
        return find.open_dataset(
            self.name,
            directory=str(self.directory),
            manual_dir=str(manual_dir or ""),
            rebuild=rebuild,
            say=self.said.append,
        )

    def refusal(self, manual_dir: Path | None = None, *, rebuild: bool = False) -> str:
        with pytest.raises(InputError) as caught:
            self(manual_dir, rebuild=rebuild)
        return str(caught.value)


@pytest.fixture
def open_it(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture
def manual_dir(tmp_path: Path) -> Path:
    return lay_out(tmp_path / "manual")


def relabel(folder: Path, old: str, new: str) -> None:
    labels = folder / "labels.csv"
    labels.write_text(labels.read_text().replace(old, new))


def ages(dataset) -> dict[str, float]:
    faces = pixel_cache.load(dataset, None).faces
    return dict(zip(faces.keys.tolist(), faces.ages.tolist(), strict=True))


def source(dataset) -> dict:
    return dataset.metadata["source"]


def test_unchanged_files_are_opened_without_a_word(open_it: Command, manual_dir: Path):
    built = open_it(manual_dir)
    assert source(built)["path"] == str(manual_dir)
    for asked in (manual_dir, None):
        assert open_it(asked).path == built.path
        assert open_it.said == []


@pytest.mark.parametrize("named", [True, False])
def test_changed_labels_are_refused_and_rebuilt_on_request(open_it, manual_dir, named):
    asked = manual_dir if named else None
    before = open_it(manual_dir)
    assert ages(before)["a.png"] == 26
    faces = pixel_cache.load(before, reading.Decoding(8, "area")).faces
    relabel(manual_dir, "a.png,26", "a.png,62")
    text = open_it.refusal(asked)
    assert text.startswith(
        f"data.manual_dir = {manual_dir}: differs from what {NAME} was built from: labels.csv differs"
        " (last changed on "
    )
    assert text.endswith(f"); {REBUILD}")
    after = open_it(asked, rebuild=True)
    assert open_it.said[0].startswith(f"{NAME}: {manual_dir}: labels.csv differs (last changed on ")
    assert open_it.said[0].endswith(": building it anew")
    assert ages(after)["a.png"] == 62
    assert pixel_cache.load(after, None).faces.fingerprint != faces.fingerprint
    assert [path.name for path in after.path.parent.iterdir()] == ["1.0.0"]
    # Once is enough, also where the option stays on the command line.
    open_it(asked, rebuild=True)
    assert open_it.said == [
        f"data.rebuild: the source files of {NAME} have not changed; it is used as built"
    ]


def test_another_folder_is_refused_and_rebuilt_on_request(open_it, manual_dir, tmp_path):
    open_it(manual_dir)
    other = lay_out(tmp_path / "other", [*ROWS, "g.png,50,f,Gus"])
    text = open_it.refusal(other)
    assert text.startswith(
        f"data.manual_dir = {other}: differs from what {NAME} was built from, {manual_dir}: labels.csv"
    )
    assert text.endswith(f"=true, or name --config.data.manual_dir={manual_dir}")
    built = open_it(other, rebuild=True)
    assert len(built) == 7
    assert source(built)["path"] == str(other)
    assert open_it(manual_dir, rebuild=True).metadata["examples"] == 6


def test_the_same_files_in_another_folder_are_the_same_dataset(open_it, manual_dir, tmp_path):
    built = open_it(manual_dir)
    copy = Path(shutil.copytree(manual_dir, tmp_path / "copy", copy_function=shutil.copy))
    assert open_it(copy).path == built.path
    assert open_it.said == []
    assert source(open_it(copy))["path"] == str(manual_dir)  # not the folder that is asked for


def test_a_changed_photograph_is_a_difference_and_its_pixels_are_new(open_it, manual_dir):
    decoding = reading.Decoding(8, "area")
    before = open_it(manual_dir)
    old = pixel_cache.load(before, decoding)
    digest = source(before)["digest"]
    (manual_dir / "a.png").write_bytes(encode(Image.fromarray(draw(99))))
    assert "1 of 6 images differ, the first: a.png; rebuild" in open_it.refusal(manual_dir)
    after = open_it(manual_dir, rebuild=True)
    new = pixel_cache.load(after, decoding)
    assert source(after)["digest"] != digest
    assert old.pixels is not None
    assert new.pixels is not None
    row = new.faces.keys.tolist().index("a.png")
    assert not np.array_equal(old.pixels[row], new.pixels[row])
    assert np.array_equal(np.delete(old.pixels, row, 0), np.delete(new.pixels, row, 0))


def test_a_build_is_used_once_its_files_are_deleted(open_it, manual_dir, tmp_path):
    built = open_it(manual_dir)
    for path in manual_dir.glob("*.png"):
        path.unlink()
    assert open_it(manual_dir).path == built.path
    assert open_it.said == [f"{NAME} is used as built; no longer in {manual_dir}: the images"]
    shutil.rmtree(manual_dir)
    for asked in (None, manual_dir):
        assert open_it(asked).path == built.path
        assert open_it.said == []
    gone = tmp_path / "gone"
    assert open_it(gone).path == built.path
    assert open_it.said == [
        f"data.manual_dir = {gone}: no source files of {NAME}; it is used as built from {manual_dir}"
    ]
    assert open_it.refusal(manual_dir, rebuild=True) == (
        f"data.rebuild: no source files of {NAME} in {manual_dir}; leave it out"
    )


def test_a_folder_without_such_files_is_refused(open_it, manual_dir, tmp_path):
    open_it(manual_dir)
    other = tmp_path / "other"
    other.mkdir()
    assert open_it.refusal(other) == (
        f"data.manual_dir = {other}: no source files of {NAME}, which is built from {manual_dir}; leave"
        " it out to use that build"
    )
    shutil.copy(manual_dir / "labels.csv", other)
    assert (
        f"data.manual_dir = {other}: differs from what {NAME} was built from, {manual_dir}: not there:"
        " the images; rebuild"
    ) in open_it.refusal(other)


def test_the_default_folder_counts_if_it_holds_such_files(open_it, manual_dir):
    built = open_it(manual_dir)
    default = open_it.directory / "downloads" / "manual"
    default.mkdir(parents=True)
    (default / "wiki_crop.tar").touch()
    assert open_it().path == built.path
    shutil.copy(manual_dir / "labels.csv", default)  # labels alone do not hide the others
    assert open_it().path == built.path
    lay_out(default, ROWS[:-1])
    assert f"data.manual_dir = {default}: differs" in open_it.refusal()
    assert open_it(manual_dir).path == built.path


def test_a_build_without_a_record_is_used_with_a_line(open_it, manual_dir):
    built = open_it(manual_dir)
    files.write_json(built.path / "metadata.json", built.metadata | {"source": "one's own"})
    relabel(manual_dir, "a.png,26", "a.png,62")
    assert ages(open_it(manual_dir))["a.png"] == 26
    assert open_it.said == [
        f"{NAME} was built before source files were recorded: they may have changed since;"
        f" --config.data.rebuild=true builds it anew from {manual_dir}"
    ]
    assert ages(open_it(manual_dir, rebuild=True))["a.png"] == 62
    open_it(manual_dir)
    assert open_it.said == []
    files.write_json(built.path / "metadata.json", built.metadata | {"source": "one's own"})
    shutil.rmtree(manual_dir)
    assert open_it().path == built.path
    assert open_it.said == []
    assert open_it(manual_dir).path == built.path
    assert open_it.said == [
        f"data.manual_dir = {manual_dir}: no source files of {NAME}; it is used as built"
    ]


@pytest.mark.parametrize("kind", ["refused", "killed"])
def test_a_rebuild_that_fails_leaves_the_old_build(open_it, manual_dir, kind, monkeypatch):
    built = open_it(manual_dir)
    content = sorted(path.name for path in built.path.iterdir())
    relabel(manual_dir, "path,age", "nothing,age")
    assert "no column" in open_it.refusal(manual_dir, rebuild=True)
    assert sorted(path.name for path in built.path.iterdir()) == content
    assert [path.name for path in built.path.parent.iterdir()] == ["1.0.0"]
    relabel(manual_dir, "nothing,age", "path,age")
    if kind == "killed":  # between the two renames
        built.path.rename(built.path.with_name("replaced-1.0.0"))
    again = open_it(manual_dir)
    assert len(again) == 6
    relabel(manual_dir, "a.png,26", "a.png,62")
    assert ages(open_it(manual_dir, rebuild=True))["a.png"] == 62
    assert [path.name for path in built.path.parent.iterdir()] == ["1.0.0"]


def test_a_drawn_dataset_has_no_source(small_faces, data_dir):
    said = []
    name = small_faces.name.rpartition("/")[0]
    for rebuild in (False, True):
        opened = find.open_dataset(
            name, directory=str(data_dir), manual_dir="/", rebuild=rebuild, say=said.append
        )
        assert opened.path == small_faces.path
    assert said == []


@pytest.fixture
def adience_dir(tmp_path: Path) -> Path:
    dummy = Path(adience.__file__).parent / "dummy_data"
    return Path(shutil.copytree(dummy, tmp_path / "adience"))


def test_a_repaired_adience_archive_is_noticed(tmp_path: Path, adience_dir: Path):
    open_it = Command(tmp_path, "adience/aligned")
    damaged = next((adience_dir / "aligned/1001@N01").iterdir())
    content = damaged.read_bytes()
    damaged.write_bytes(content[:200] + bytes(len(content) - 200))
    adience.pack(adience_dir, "aligned")
    assert open_it(adience_dir).metadata["rejected"] == {"truncated": 1}
    assert open_it(adience_dir).metadata["examples"] == 9
    assert open_it.said == []
    folder = adience_dir.parent / "aligned_as_it_was"
    folder.rename(adience_dir / "aligned")
    damaged.write_bytes(content)
    adience.pack(adience_dir, "aligned")
    archive = adience_dir / "aligned.tar.gz"
    assert "aligned.tar.gz differs (last changed on " in open_it.refusal(adience_dir)
    assert open_it(adience_dir, rebuild=True).metadata["examples"] == 10
    # The extracted folder of the same archive is the same source.
    archive.unlink()
    folder.rename(adience_dir / "aligned")
    open_it(adience_dir)
    assert open_it.said == []
    damaged.unlink()
    assert "1 of 10 images differ, the first: aligned/1001@N01/" in open_it.refusal(adience_dir)


def test_a_folder_that_its_archive_replaces_is_compared_by_sizes(tmp_path, adience_dir):
    open_it = Command(tmp_path, "adience/aligned")
    built = open_it(adience_dir)
    adience.pack(adience_dir, "aligned")
    assert open_it(adience_dir).path == built.path
    assert open_it.said == []
    damaged = next((adience_dir.parent / "aligned_as_it_was/1001@N01").iterdir())
    damaged.write_bytes(b"")
    (adience_dir.parent / "aligned_as_it_was").rename(adience_dir / "aligned")
    adience.pack(adience_dir, "aligned")
    assert "1 of 10 images differ" in open_it.refusal(adience_dir)


def test_changed_fold_files_are_named(tmp_path: Path, adience_dir: Path):
    open_it = Command(tmp_path, "adience/aligned")
    open_it(adience_dir)
    path = adience_dir / "fold_3_data.txt"
    path.write_text(path.read_text().replace("None", "(0, 2)"))
    assert ": fold_3_data.txt differs (last changed on " in open_it.refusal(adience_dir)
    path = adience_dir / "fold_0_data.txt"
    path.write_text(path.read_text() + "\n")
    assert ": fold_0_data.txt and 1 more differ (last changed on " in open_it.refusal(adience_dir)


def test_adience_one_folder_too_deep_is_built_and_found_again(tmp_path, adience_dir):
    open_it = Command(tmp_path, "adience/aligned")
    outer = tmp_path / "outer"
    outer.mkdir()
    adience_dir.rename(outer / "Adience")
    (outer / "Adience/aligned").rename(outer / "aligned")
    (outer / "inner").mkdir()
    (outer / "aligned").rename(outer / "inner/aligned")
    built = open_it(outer)
    assert built.metadata["examples"] == 10
    assert built.metadata["source"]["path"] == str(outer)
    open_it(outer)
    assert open_it.said == []


def test_frontal_folds_alone_are_told_apart_from_no_adience(tmp_path, adience_dir):
    open_it = Command(tmp_path, "adience/aligned")
    for path in adience_dir.glob("fold_*"):
        path.rename(path.with_name(path.name.replace("fold_", "fold_frontal_")))
    text = open_it.refusal(adience_dir)
    assert "; fold_frontal_0_data.txt is there, but the frontal folds list only faces seen" in text
    text = open_it.refusal(adience_dir / "aligned")
    assert text.count("fold_frontal") == 0


def test_comparing_takes_no_time(open_it, manual_dir):
    (manual_dir / "many").mkdir()
    one = (manual_dir / "a.png").read_bytes()
    rows = []
    for number in range(2000):
        (manual_dir / f"many/{number}.png").write_bytes(one)
        rows.append(f"many/{number}.png,{number % 90},f,{number % 400}")
    (manual_dir / "labels.csv").write_text("path,age,gender,subject\n" + "\n".join(rows))
    built = open_it(manual_dir)
    started = time.perf_counter()
    place = of_files.Place(manual_dir, {"": manual_dir})
    assert of_files.compare(built.path, place).changes == []
    assert time.perf_counter() - started < 1
