import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from ageflax.data import images
from ageflax.data.building import source
from ageflax.errors import InputError
from tfds_builders.adience import fold_files, photographs

FACE = fold_files.Face(0, 2, "7@N00", "a.jpg", "12", "35", "female")
NAME = "aligned/7@N00/landmark_aligned_face.12.a.jpg"


def pack(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_names_on_disk():
    assert photographs.relative_path(FACE, "aligned") == NAME
    assert photographs.relative_path(FACE, "faces") == (
        "faces/7@N00/coarse_tilt_aligned_face.12.a.jpg"
    )


def find(manual_dir: Path, spool: Path, folder: Path | None = None) -> photographs.Photographs:
    def make_folder() -> Path:
        spool.mkdir()
        return spool

    folder = folder or manual_dir
    found = photographs.locate(manual_dir, folder, "aligned")
    place = source.Place(folder, {"aligned": found} if found else {})
    return photographs.find(place, [FACE], config="aligned", make_folder=make_folder)


def test_the_folder_wins_and_no_archive_is_unpacked(tmp_path: Path):
    (tmp_path / NAME).parent.mkdir(parents=True)
    (tmp_path / NAME).write_bytes(b"from the folder")
    pack(tmp_path / "aligned.tar.gz", [(NAME, b"from the archive")])
    found = find(tmp_path, tmp_path / "spool")
    assert found.read(FACE) == b"from the folder"
    assert found.source.origin == {"read_from": "folder aligned", "archive_not_read": True}
    assert not (tmp_path / "spool").exists()


@pytest.mark.parametrize("name", ["aligned.tar.gz", "aligned.tgz", "aligned.tar"])
def test_the_archive_is_read_where_there_is_no_folder(tmp_path: Path, name: str):
    pack(tmp_path / name, [(NAME, b"from the archive")])
    found = find(tmp_path, tmp_path / "spool")
    assert found.read(FACE) == b"from the archive"
    assert found.source.origin["read_from"] == f"archive {name}"
    assert found.source.origin["archive_members_refused"] == 0


@pytest.mark.parametrize("above", ["aligned", "Adience", "folds/../elsewhere"])
def test_images_one_folder_too_deep_are_found(tmp_path: Path, above: str):
    (tmp_path / "folds").mkdir()
    path = tmp_path / "elsewhere/.." / above / NAME
    (tmp_path / "elsewhere").mkdir()
    path.parent.mkdir(parents=True)
    path.write_bytes(b"image")
    assert find(tmp_path, tmp_path / "spool", tmp_path / "folds").read(FACE) == b"image"


def test_images_near_the_fold_files_come_first_and_of_two_others_none(tmp_path: Path):
    for folder in ("one", "two", "folds"):
        path = tmp_path / folder / NAME
        path.parent.mkdir(parents=True)
        path.write_text(folder)
    folds = tmp_path / "folds"
    assert find(tmp_path, tmp_path / "spool", folds).read(FACE) == b"folds"
    (folds / "aligned").rename(folds / "other")
    with pytest.raises(InputError, match="no images: neither"):
        find(tmp_path, tmp_path / "spool", folds)


def test_a_face_that_the_archive_has_not(tmp_path: Path):
    pack(tmp_path / "aligned.tar.gz", [("aligned/7@N00/other.jpg", b"x")])
    with pytest.raises(images.BadImageError, match="absent"):
        find(tmp_path, tmp_path / "spool").read(FACE)


def test_the_archive_is_told_from_the_published_one(tmp_path: Path, monkeypatch):
    path = pack(tmp_path / "aligned.tar.gz", [(NAME, b"bytes")])
    md5 = hashlib.md5(path.read_bytes()).hexdigest()
    origin = find(tmp_path, tmp_path / "spool").source.origin
    assert origin["archive_md5"] == md5
    assert origin["archive_md5_is_the_published_one"] is False
    monkeypatch.setitem(photographs.ARCHIVE_MD5, "aligned", md5)
    origin = find(tmp_path, tmp_path / "another").source.origin
    assert origin["archive_md5_is_the_published_one"] is True


def test_without_either_both_are_named(tmp_path: Path):
    with pytest.raises(InputError) as caught:
        find(tmp_path, tmp_path / "spool")
    assert str(caught.value) == (
        f"no images: neither the folder {tmp_path}/aligned nor the archive "
        f"{tmp_path}/aligned.tar.gz is there"
    )


def test_what_is_there_instead_is_named(tmp_path: Path):
    (tmp_path / "7@N00").mkdir()
    (tmp_path / "7@N00" / Path(NAME).name).touch()
    with pytest.raises(InputError) as caught:
        find(tmp_path, tmp_path / "spool")
    assert str(caught.value).endswith(
        f"; the albums are in {tmp_path} itself: move them into {tmp_path}/aligned"
    )
    (tmp_path / "aligned.zip").touch()
    with pytest.raises(InputError) as caught:
        find(tmp_path, tmp_path / "spool")
    assert str(caught.value).endswith(
        "; aligned.zip is there, but only .tar, .tar.gz and .tgz are read: extract it"
    )
