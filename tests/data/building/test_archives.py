import gzip
import hashlib
import io
import shutil
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ageflax.data import images
from ageflax.data.building import archives
from ageflax.errors import InputError, RunError

Members = list[tuple[str | tarfile.TarInfo, bytes]]
NAME = "photos/7@N00/face.12.a.jpg"
COPY = "a.tar.gz.members"


def pack(path: Path, members: Members) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
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


Read = Callable[[Members], archives.Archive]


@pytest.fixture(params=["a.tar", "a.tar.gz"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / request.param


@pytest.fixture
def read(path: Path, tmp_path: Path) -> Read:
    def run(members: Members) -> archives.Archive:
        (tmp_path / "out").mkdir()
        return archives.read(pack(path, members), {NAME}, folder=tmp_path / "out")

    return run


def reason(archive: archives.Archive) -> str:
    with pytest.raises(images.BadImageError) as caught:
        archive.read(NAME)
    return caught.value.reason


def written(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.iterdir()]


def refusal(path: Path, folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        archives.read(path, {NAME}, folder=folder)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("prefix", ["", "./"])
def test_wanted_members_are_read_and_others_passed_over(read, tmp_path, path, prefix: str):
    archive = read([(prefix + NAME, b"bytes"), ("photos/other.jpg", b"x"), ("README", b"x")])
    assert archive.read(NAME) == b"bytes"
    # Only a compressed archive is copied.
    assert written(tmp_path / "out") == ([b"bytes"] if path.suffix == ".gz" else [])
    assert archive.refused == 0


def test_an_absent_member(read: Read):
    assert reason(read([("photos/other.jpg", b"x")])) == "absent"


def test_an_empty_member(read: Read):
    assert reason(read([(NAME, b"")])) == "empty"


def test_an_absurdly_large_member(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(images, "MAX_BYTES", 10)
    archive = read([(NAME, b"x" * 11)])
    assert reason(archive) == "too large"
    assert b"".join(written(tmp_path / "out")) == b""


def test_of_two_members_with_one_name_the_later_counts(read: Read):
    archive = read([(NAME, b"earlier"), (NAME, b"later")])
    assert archive.read(NAME) == b"later"


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
    ids=["symlink", "hard link", "character device", "block device", "fifo"],
)
def test_links_and_devices_are_never_followed(read: Read, tmp_path: Path, kind: bytes):
    archive = read([(special(NAME, kind, "/etc/passwd"), b"")])
    assert reason(archive) == "absent"
    assert b"".join(written(tmp_path / "out")) == b""
    assert archive.refused == 1


@pytest.mark.parametrize(
    "name",
    ["../escaped.jpg", "/tmp/escaped.jpg", f"../{NAME}", f"/{NAME}", f"photos/../{NAME}"],
)
def test_members_that_leave_the_folder_are_refused(read, tmp_path, path, name: str):
    archive = read([(name, b"hostile")])
    assert reason(archive) == "absent"
    assert archive.refused == 1
    everything = {found for found in tmp_path.rglob("*") if found.is_file()}
    assert everything <= {path, tmp_path / "out" / COPY}


def test_a_link_into_which_a_later_member_would_be_written(read: Read, tmp_path: Path):
    victim = tmp_path / "victim"
    victim.mkdir()
    link = special("photos/7@N00", tarfile.SYMTYPE, str(victim))
    archive = read([(link, b""), (NAME, b"bytes")])
    assert archive.read(NAME) == b"bytes"
    assert list(victim.iterdir()) == []


def test_the_archive_is_hashed_as_it_is_read(read: Read, path: Path):
    archive = read([(NAME, b"bytes"), ("more", b"x" * 100_000)])
    assert archive.md5 == hashlib.md5(path.read_bytes()).hexdigest()


def test_an_archive_that_shrinks_after_it_was_read(tmp_path: Path):
    path = pack(tmp_path / "a.tar", [(NAME, b"bytes" * 1000)])
    archive = archives.read(path, {NAME}, folder=tmp_path)
    path.write_bytes(path.read_bytes()[:2000])
    assert reason(archive) == "truncated"
    path.unlink()
    assert reason(archive) == "unreadable"


def test_memory_does_not_hold_every_member(tmp_path: Path):
    path = pack(tmp_path / "a.tar", [(f"{number}.jpg", b"") for number in range(3000)])
    tracemalloc.start()
    archives.read(path, set(), folder=tmp_path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000  # two pieces of a megabyte, not 3,000 members


def test_what_is_no_archive_is_named(tmp_path: Path):
    path = tmp_path / "a.tar.gz"
    path.write_text("<html>404</html>")
    assert refusal(path, tmp_path) == (
        f"{path}: a web page, not a tar archive; log in and download the archive again"
    )
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(NAME, b"bytes")
    assert refusal(path, tmp_path) == f"{path}: a zip archive, not a tar archive; extract it"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert refusal(path, tmp_path) == (
        f"{path}: a Git LFS pointer, not a tar archive; fetch the file with git lfs pull"
    )


def test_content_decides_and_not_the_name(tmp_path: Path):
    plain, packed = tmp_path / "a.tar.gz", tmp_path / "b.tar"
    pack(tmp_path / "c.tar", [(NAME, b"bytes")]).rename(plain)
    pack(tmp_path / "c.tar.gz", [(NAME, b"bytes")]).rename(packed)
    for path in (plain, packed):
        assert archives.read(path, {NAME}, folder=tmp_path).read(NAME) == b"bytes"
        assert archives.sizes(path, {NAME}) == {NAME: 5}
    assert archives.read(plain, {NAME}, folder=None).read(NAME) == b"bytes"
    with pytest.raises(InputError, match=r"b\.tar: compressed by gzip; decompress it$"):
        archives.read(packed, {NAME}, folder=None)


@pytest.mark.parametrize("first", ["PK\3\4.jpg", "<html>.jpg", "BZh.jpg"])
def test_a_first_member_of_an_odd_name_is_no_other_kind(tmp_path: Path, first: str):
    path = pack(tmp_path / "a.tar", [(first, b"x"), (NAME, b"bytes")])
    assert archives.read(path, {NAME}, folder=None).read(NAME) == b"bytes"


def test_a_file_that_is_not_wanted_is_named(read: Read):
    assert read([("inner/" + NAME, b"x"), ("README", b"x")]).other == "inner/" + NAME


def test_an_empty_file_and_what_is_no_tar_are_refused(path: Path, tmp_path: Path):
    path.write_bytes(b"")
    assert refusal(path, tmp_path).startswith(f"{path}: truncated or damaged (")
    text = b"no tar, but a text long enough for a block" * 99
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    assert refusal(path, tmp_path).startswith(f"{path}: truncated or damaged (")


def test_a_truncated_archive_is_refused_wherever_it_ends(path: Path, tmp_path: Path):
    noise = hashlib.shake_128(b"noise").digest(20_480)
    pack(path, [(NAME, noise), ("b", noise)])
    whole = path.read_bytes()
    if path.suffix == ".tar":  # cut after the second member it has no block of padding left
        whole = whole[: 2 * (512 + len(noise)) + 8]
    out = tmp_path / "out"
    for cut in [2, 5, 15, *range(20, len(whole), 1999), len(whole) - 9, len(whole) - 8]:
        path.write_bytes(whole[:cut])
        out.mkdir()
        assert "download the archive again" in refusal(path, out)
        shutil.rmtree(out)


@given(st.data())
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_damage_ends_in_an_archive_or_one_line(tmp_path: Path, data: st.DataObject):
    path = pack(tmp_path / "a.tar.gz", [(NAME, b"bytes" * 99), ("b", b"x" * 999)])
    inner = data.draw(st.booleans())  # damage inside the tar, or in the gzip around it
    content = bytearray(gzip.decompress(path.read_bytes()) if inner else path.read_bytes())
    reach = 1600 if inner else len(content)
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, reach - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(gzip.compress(bytes(content)) if inner else bytes(content))
    folder = tmp_path / "out"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        archives.read(path, {NAME}, folder=folder)
    except InputError as error:
        assert len(str(error).splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"a.tar.gz", "out"}


def test_a_full_disk_is_a_failed_run(tmp_path: Path):
    path = pack(tmp_path / "a.tar.gz", [(NAME, b"bytes" * 99), ("b", b"x" * 3_000_000)])
    (tmp_path / COPY).symlink_to("/dev/full")
    for wanted in ({NAME}, {NAME, "b"}):  # noticed on closing; on writing
        with pytest.raises(RunError, match=r"cannot write to .*No space left on device"):
            archives.read(path, wanted, folder=tmp_path)
