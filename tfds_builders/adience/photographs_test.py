import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from ageflax.data import images
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


def find(manual_dir: Path, spool: Path) -> photographs.Photographs:
    def make_folder() -> Path:
        spool.mkdir()
        return spool

    return photographs.find(manual_dir, [FACE], config="aligned", make_folder=make_folder)


def test_the_folder_wins_and_no_archive_is_unpacked(tmp_path: Path):
    (tmp_path / NAME).parent.mkdir(parents=True)
    (tmp_path / NAME).write_bytes(b"from the folder")
    pack(tmp_path / "aligned.tar.gz", [(NAME, b"from the archive")])
    source = find(tmp_path, tmp_path / "spool")
    assert source.read(FACE) == b"from the folder"
    assert source.source.origin == {"read_from": "folder aligned", "archive_not_read": True}
    assert not (tmp_path / "spool").exists()


def test_the_archive_is_read_where_there_is_no_folder(tmp_path: Path):
    pack(tmp_path / "aligned.tar.gz", [(NAME, b"from the archive")])
    source = find(tmp_path, tmp_path / "spool")
    assert source.read(FACE) == b"from the archive"
    assert source.source.origin["read_from"] == "archive aligned.tar.gz"
    assert source.source.origin["archive_members_refused"] == 0


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
