import os
import shutil
import tarfile
from pathlib import Path

import pytest

from ageflax.data.building import archives, source
from ageflax.data.images import BadImageError
from ageflax.errors import InputError

IMAGES = {"photos/a.jpg": b"first", "photos/b.jpg": b"second", "photos/c.jpg": None}


def lay_out(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "labels.csv").write_text("labels")
    for name, content in IMAGES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        if content is not None:
            (folder / name).write_bytes(content)
    return folder


def place(folder: Path) -> source.Place:
    """Photographs in their folder, or else in the archive."""
    found = [path for path in (folder / "photos", folder / "photos.tar") if path.exists()]
    return source.Place(folder, {"photos": found[0]} if found else {})


def record(folder: Path, dataset: Path) -> dict:
    """Builds nothing, but notes what a build would read."""
    dataset.mkdir()
    where = place(folder)
    found = source.Record("Photographs", where, folder)
    found.note_list("labels.csv", source._md5(folder / "labels.csv"))
    images = where.images["photos"]
    archive = None
    if images.is_file():
        archive = archives.read(images, set(IMAGES), folder=folder)
        found.note_archive(images, archive)

    def read(name: str) -> bytes:
        if archive:
            return archive.read(name)
        if not (folder / name).exists():
            raise BadImageError("absent")
        return (folder / name).read_bytes()

    reading = found.reading(read, lambda name: name)
    for name in IMAGES:
        try:
            assert reading(name) == IMAGES[name]
        except BadImageError:
            assert IMAGES[name] is None
    return found.write(dataset)


def pack(folder: Path, suffix: str = ".tar") -> Path:
    path = folder / f"photos{suffix}"
    with tarfile.open(path, "w:gz" if suffix.endswith("gz") else "w") as archive:
        archive.add(folder / "photos", "photos")
    shutil.rmtree(folder / "photos")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return lay_out(tmp_path / "manual")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return tmp_path / "dataset"


def compared(dataset: Path, folder: Path) -> tuple[list[str], list[str]]:
    found = source.compare(dataset, place(folder))
    return list(found.changes), list(found.gone)


def test_the_folder_and_a_digest_of_the_contents_are_recorded(folder, dataset, tmp_path):
    found = record(folder, dataset)
    assert found["name"] == "Photographs"
    assert found["path"] == str(folder)
    lines = (dataset / source.LISTING).read_text().splitlines()
    assert lines[0] == "file,kind,bytes,modified,md5"
    assert [line.split(",")[:3] for line in lines[1:]] == [
        ["labels.csv", "list", "6"],
        ["photos/a.jpg", "image", "5"],
        ["photos/b.jpg", "image", "6"],
        ["photos/c.jpg", "image", "-1"],
    ]
    # The same contents elsewhere, and in an archive, have the same digest.
    other = lay_out(tmp_path / "other")
    assert record(other, tmp_path / "two")["digest"] == found["digest"]
    pack(other)
    assert record(other, tmp_path / "three")["digest"] == found["digest"]


def test_the_same_files_are_the_same_wherever_they_lie(folder, dataset, tmp_path):
    record(folder, dataset)
    assert compared(dataset, folder) == ([], [])
    moved = tmp_path / "moved"
    folder.rename(moved)
    assert compared(dataset, moved) == ([], [])
    # A copy without times is compared by content.
    assert compared(dataset, lay_out(tmp_path / "copied")) == ([], [])


def test_an_unchanged_image_is_not_read_again(folder, dataset, monkeypatch):
    record(folder, dataset)
    read = []
    md5 = source._md5
    monkeypatch.setattr(source, "_md5", lambda path: read.append(path.name) or md5(path))
    assert compared(dataset, folder) == ([], [])
    assert read == ["labels.csv"]
    os.utime(folder / "photos/b.jpg", ns=(1, 1))
    assert compared(dataset, folder) == ([], [])
    assert read[1:] == ["labels.csv", "b.jpg"]


def test_changed_labels_are_named_with_their_time(folder, dataset):
    record(folder, dataset)
    labels = folder / "labels.csv"
    labels.write_text("LABELS")
    os.utime(labels, (0, 1_700_000_000))
    ((change,), gone) = compared(dataset, folder)
    assert change.startswith("labels.csv differs (last changed on 2023-11-1")
    assert gone == []
    labels.unlink()
    assert compared(dataset, folder) == (["not there: labels.csv"], [])


@pytest.mark.parametrize("content", [b"FIRST", b"longer", None])
def test_a_changed_image_is_named_even_at_the_same_size(folder, dataset, content):
    record(folder, dataset)
    path = folder / "photos/a.jpg"
    path.unlink()
    if content:
        path.write_bytes(content)
    assert compared(dataset, folder) == (["1 of 3 images differ, the first: photos/a.jpg"], [])


def test_an_image_that_was_absent_and_is_there_is_a_change(folder, dataset):
    record(folder, dataset)
    (folder / "photos/c.jpg").write_bytes(b"third")
    assert compared(dataset, folder) == (["1 of 3 images differ, the first: photos/c.jpg"], [])


def test_files_beside_them_do_not_count(folder, dataset):
    record(folder, dataset)
    (folder / "notes.txt").write_text("x")
    (folder / "photos/more.jpg").write_bytes(b"x")
    assert compared(dataset, folder) == ([], [])


def test_images_removed_after_the_build_are_gone_and_not_changed(folder, dataset):
    record(folder, dataset)
    for path in (folder / "photos").iterdir():
        path.unlink()
    assert compared(dataset, folder) == ([], ["photos"])
    (folder / "photos").rmdir()
    assert compared(dataset, folder) == ([], ["photos"])


def test_an_archive_that_was_repaired_is_noticed_even_at_the_same_size(folder, dataset):
    path = pack(folder)
    record(folder, dataset)
    assert compared(dataset, folder) == ([], [])
    os.utime(path, ns=(1, 1))
    assert compared(dataset, folder) == ([], [])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"first", b"First"))
    ((change,), _) = compared(dataset, folder)
    assert change.startswith("photos.tar differs (last changed on ")


def test_an_archive_extracted_or_packed_after_the_build_is_the_same(folder, dataset, tmp_path):
    archive = pack(folder)
    record(folder, dataset)
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    archive.unlink()
    assert compared(dataset, folder) == ([], [])
    (folder / "photos/a.jpg").write_bytes(b"longer")
    assert compared(dataset, folder) == (["1 of 3 images differ, the first: photos/a.jpg"], [])
    record(lay_out(tmp_path / "other"), tmp_path / "second")
    pack(tmp_path / "other")
    assert compared(tmp_path / "second", tmp_path / "other") == ([], [])
    pack(folder)
    assert compared(tmp_path / "second", folder)[0] == [
        "1 of 3 images differ, the first: photos/a.jpg"
    ]


def test_a_damaged_record_is_one_line(folder, dataset):
    record(folder, dataset)
    for content in (b"", b"file,kind\nx,y\n", b"file,kind,bytes,modified,md5\na,list,x,0,\n"):
        (dataset / source.LISTING).write_bytes(content)
        with pytest.raises(InputError, match=r"source_files.csv: cannot be read"):
            source.compare(dataset, place(folder))
    (dataset / source.LISTING).unlink()
    with pytest.raises(InputError, match=r"source_files.csv: cannot be read"):
        source.compare(dataset, place(folder))


def test_a_build_of_an_earlier_version_has_no_record():
    assert source.of_metadata({"source": "Adience"}) is None
    assert source.described({}) == {}
    full = {"name": "Adience", "path": "/x", "digest": "ab"}
    assert source.described({"source": full}) == {"source": {"path": "/x", "digest": "ab"}}
