import gzip
import hashlib
import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ageflax.data import images
from ageflax.errors import InputError, RunError
from tfds_builders.adience import fold_files, photographs

Members = list[tuple[str | tarfile.TarInfo, bytes]]
FACE = fold_files.Face(0, 2, "7@N00", "a.jpg", "12", "35", "female")
NAME = "aligned/7@N00/landmark_aligned_face.12.a.jpg"


def pack(path: Path, members: Members) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            if info.isreg():
                info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def unpack(tmp_path: Path) -> Callable[[Members], photographs.UnpackedArchive]:
    def run(members: Members) -> photographs.UnpackedArchive:
        (tmp_path / "out").mkdir()
        archive = pack(tmp_path / "aligned.tar.gz", members)
        return photographs.unpack(archive, [FACE], config="aligned", folder=tmp_path / "out")

    return run


def reason(source: photographs.Photographs) -> str:
    with pytest.raises(images.BadImageError) as caught:
        source.read(FACE)
    return caught.value.reason


def refusal(path: Path, folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        photographs.unpack(path, [FACE], config="aligned", folder=folder)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_names_on_disk():
    assert photographs.relative_path(FACE, "aligned") == NAME
    assert photographs.relative_path(FACE, "faces") == (
        "faces/7@N00/coarse_tilt_aligned_face.12.a.jpg"
    )


@pytest.mark.parametrize("prefix", ["", "./"])
def test_wanted_members_are_copied_and_others_passed_over(unpack, prefix: str):
    source = unpack([(prefix + NAME, b"bytes"), ("aligned/other.jpg", b"x"), ("README", b"x")])
    assert source.read(FACE) == b"bytes"
    assert [path.read_bytes() for path in source.folder.iterdir()] == [b"bytes"]
    assert source.origin["archive_members_refused"] == 0


def test_an_absent_and_an_empty_member(unpack):
    assert reason(unpack([("aligned/other.jpg", b"x")])) == "absent"


def test_an_empty_member(unpack):
    assert reason(unpack([(NAME, b"")])) == "empty"


def test_an_absurdly_large_member(unpack, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(images, "MAX_BYTES", 10)
    source = unpack([(NAME, b"x" * 11)])
    assert reason(source) == "too large"
    assert list(source.folder.iterdir()) == []


def test_of_two_members_with_one_name_the_later_counts(unpack):
    source = unpack([(NAME, b"earlier"), (NAME, b"later")])
    assert source.read(FACE) == b"later"


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
    ids=["symlink", "hard link", "character device", "block device", "fifo"],
)
def test_links_and_devices_are_never_followed(unpack, kind: bytes):
    source = unpack([(special(NAME, kind, "/etc/passwd"), b"")])
    assert reason(source) == "absent"
    assert list(source.folder.iterdir()) == []
    assert source.origin["archive_members_refused"] == 1


@pytest.mark.parametrize(
    "name",
    ["../escaped.jpg", "/tmp/escaped.jpg", f"../{NAME}", f"/{NAME}", f"aligned/../{NAME}"],
)
def test_members_that_leave_the_folder_are_refused(unpack, tmp_path: Path, name: str):
    source = unpack([(name, b"hostile")])
    assert reason(source) == "absent"
    assert source.origin["archive_members_refused"] == 1
    everything = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert everything == [tmp_path / "aligned.tar.gz"]


def test_a_link_into_which_a_later_member_would_be_written(unpack, tmp_path: Path):
    victim = tmp_path / "victim"
    victim.mkdir()
    link = special("aligned/7@N00", tarfile.SYMTYPE, str(victim))
    source = unpack([(link, b""), (NAME, b"bytes")])
    assert source.read(FACE) == b"bytes"
    assert list(victim.iterdir()) == []


def test_the_archive_is_hashed_as_it_is_read(unpack, tmp_path, monkeypatch):
    source = unpack([(NAME, b"bytes"), ("more", b"x" * 100_000)])
    md5 = hashlib.md5((tmp_path / "aligned.tar.gz").read_bytes()).hexdigest()
    assert source.origin["archive_md5"] == md5
    assert source.origin["archive_md5_is_the_published_one"] is False
    monkeypatch.setitem(photographs.ARCHIVE_MD5, "aligned", md5)
    shutil.rmtree(tmp_path / "out")
    assert unpack([(NAME, b"bytes"), ("more", b"x" * 100_000)]).origin["archive_md5"]


def test_what_is_not_gzip_is_refused(tmp_path: Path):
    path = tmp_path / "aligned.tar.gz"
    path.write_text("<html>404</html>")
    assert refusal(path, tmp_path) == (
        f"{path}: not a gzip archive, or a damaged one (Not a gzipped file (b'<h'))"
    )
    with tarfile.open(path, "w") as archive:
        archive.addfile(tarfile.TarInfo("x"))
    assert refusal(path, tmp_path).startswith(f"{path}: not a gzip archive")


def test_an_empty_file_and_a_gzip_without_tar_are_refused(tmp_path: Path):
    path = tmp_path / "aligned.tar.gz"
    path.write_bytes(b"")
    assert refusal(path, tmp_path).startswith(f"{path}: truncated or damaged (")
    path.write_bytes(gzip.compress(b"no tar, but a text long enough for a block" * 99))
    assert refusal(path, tmp_path).startswith(f"{path}: truncated or damaged (")


def test_a_truncated_archive_is_refused_wherever_it_ends(tmp_path: Path):
    noise = hashlib.shake_128(b"noise").digest(20_000)
    path = pack(tmp_path / "aligned.tar.gz", [(NAME, noise), ("b", noise)])
    whole = path.read_bytes()
    out = tmp_path / "out"
    for cut in [2, 5, 15, *range(20, len(whole), 1999), len(whole) - 9, len(whole) - 1]:
        path.write_bytes(whole[:cut])
        out.mkdir()
        assert "download the archive again" in refusal(path, out)
        shutil.rmtree(out)


@given(st.data())
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_damage_ends_in_an_archive_or_one_line(tmp_path: Path, data: st.DataObject):
    path = pack(tmp_path / "aligned.tar.gz", [(NAME, b"bytes" * 99), ("b", b"x" * 999)])
    inner = data.draw(st.booleans())  # damage the tar inside, or the gzip around it
    content = bytearray(gzip.decompress(path.read_bytes()) if inner else path.read_bytes())
    reach = 1600 if inner else len(content)
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, reach - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(gzip.compress(bytes(content)) if inner else bytes(content))
    folder = tmp_path / "out"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        photographs.unpack(path, [FACE], config="aligned", folder=folder)
    except InputError as error:
        assert len(str(error).splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"aligned.tar.gz", "out"}


def test_a_full_disk_is_a_failed_run(unpack, monkeypatch: pytest.MonkeyPatch):
    def full(self, content):
        raise OSError(28, "No space left on device")

    def run() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", full)
            unpack([(NAME, b"bytes")])

    with pytest.raises(RunError, match=r"cannot write to .*No space left on device"):
        run()


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
    assert source.origin == {"read_from": "folder aligned", "archive_not_read": True}
    assert not (tmp_path / "spool").exists()


def test_the_archive_is_read_where_there_is_no_folder(tmp_path: Path):
    pack(tmp_path / "aligned.tar.gz", [(NAME, b"from the archive")])
    source = find(tmp_path, tmp_path / "spool")
    assert source.read(FACE) == b"from the archive"
    assert source.origin["read_from"] == "archive aligned.tar.gz"


def test_without_either_both_are_named(tmp_path: Path):
    with pytest.raises(InputError) as caught:
        find(tmp_path, tmp_path / "spool")
    assert str(caught.value) == (
        f"no images: looked for the folder {tmp_path}/aligned and for the archive "
        f"{tmp_path}/aligned.tar.gz"
    )
