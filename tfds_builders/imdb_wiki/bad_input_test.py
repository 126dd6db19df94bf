import hashlib
import http.server
import re
import threading
from pathlib import Path

import pytest

from ageflax.errors import InputError, RunError
from tests.support.built_dataset import examples, metadata
from tfds_builders import common
from tfds_builders.imdb_wiki import download, records
from tfds_builders.imdb_wiki.dummy_tree import Face, build, lay_out, pack


def refusal(manual_dir: Path, config: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        build(manual_dir, config)
    text = str(caught.value)
    assert "\n" not in text
    nothing_is_taken_for_whole(manual_dir)
    return text


def nothing_is_taken_for_whole(manual_dir: Path) -> None:
    built = manual_dir.parent / "built"
    assert not list(built.rglob("dataset_info.json"))
    assert not list(built.rglob("*incomplete*"))


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Downloads that were asked for; each fails."""
    asked: list[str] = []

    def fetch(database: str, path: Path) -> None:
        asked.append(f"{database} to {path}")
        raise InputError("cannot download")

    monkeypatch.setattr(download, "fetch", fetch)
    return asked


def test_what_is_not_there_is_downloaded_beside_the_rest(manual_dir: Path, no_network):
    pack(manual_dir, "imdb").unlink()
    assert refusal(manual_dir, "imdb_wiki") == "cannot download"
    assert no_network == [f"imdb to {manual_dir}/imdb_crop.tar"]


def test_without_a_manual_dir_the_download_goes_below_the_data_dir(tmp_path: Path, no_network):
    from tfds_builders.imdb_wiki.imdb_wiki_dataset_builder import Builder

    with pytest.raises(InputError, match="cannot download"):
        Builder(data_dir=tmp_path).download_and_prepare()
    assert no_network == [f"wiki to {tmp_path}/downloads/manual/wiki_crop.tar"]


def test_a_downloaded_archive_is_read_like_one_put_there(manual_dir: Path, monkeypatch):
    here = examples(build(manual_dir, data_dir=manual_dir.parent / "one"))
    archive = pack(manual_dir)
    content = archive.read_bytes()
    archive.unlink()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/wiki_crop.tar"
        monkeypatch.setitem(download.ADDRESSES, "wiki", url)
        monkeypatch.setitem(download.MD5, "wiki", hashlib.md5(content).hexdigest())
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        builder = build(manual_dir)
        thread.join()
    assert str(examples(builder)) == str(here)
    origin = metadata(builder)["databases"]["wiki"]["images"]
    assert origin["downloaded"] is True
    assert origin["archive_md5_is_the_published_one"] is True


def test_an_archive_cut_short(manual_dir: Path):
    archive = pack(manual_dir)
    archive.write_bytes(archive.read_bytes()[:5000])
    assert refusal(manual_dir).startswith(f"{archive}: truncated or damaged (")


def test_no_metadata_in_the_folder_and_in_the_archive(manual_dir: Path):
    (manual_dir / "wiki_crop/wiki.mat").unlink()
    assert refusal(manual_dir) == f"{manual_dir}/wiki_crop/wiki.mat: absent"
    pack(manual_dir)
    assert refusal(manual_dir) == f"{manual_dir}/wiki_crop.tar: wiki_crop/wiki.mat: absent"


def test_damaged_metadata_is_named(manual_dir: Path):
    path = manual_dir / "wiki_crop/wiki.mat"
    path.write_bytes(path.read_bytes()[:3000])
    assert refusal(manual_dir).startswith(f"{path}: not a readable .mat file, or damaged")


def test_no_image_at_all(manual_dir: Path):
    for path in manual_dir.rglob("*.jpg"):
        path.unlink()
    assert refusal(manual_dir) == (
        f"{manual_dir}: none of the 17 records of wiki can be used: 1 no face, 1 low face score, "
        "1 second face, 1 gender unknown, 1 age unknown, 1 age out of range, 11 absent"
    )


def test_too_few_subjects_for_five_folds(tmp_path: Path):
    lay_out(tmp_path / "manual", [Face(f"0/{k}.jpg", f"Person {k % 4}") for k in range(9)])
    assert refusal(tmp_path / "manual").startswith(
        "fold 4 is empty: 9 usable images of 4 subjects;"
    )


def test_a_subject_in_most_of_the_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    faces = [Face(f"0/{k}.jpg", f"Person {max(0, k - 10)}") for k in range(20)]
    lay_out(tmp_path / "manual", faces)
    build(tmp_path / "manual")
    assert (
        "imdb_wiki: notice: the folds have 2 to 11 images, since 11 are of one subject, person0"
    ) in capsys.readouterr().err.splitlines()


def test_spoiled_images_are_left_out_counted_listed_and_warned_of(manual_dir, capsys):
    first, second, third, fourth = sorted((manual_dir / "wiki_crop/09").glob("*.jpg")) + sorted(
        (manual_dir / "wiki_crop").glob("0[0-1]/*.jpg")
    )
    first.unlink()
    second.write_bytes(b"")
    third.write_text("<html>404</html>")
    fourth.write_bytes(fourth.read_bytes()[:300])
    builder = build(manual_dir)
    assert len(examples(builder)) == 7
    rejected = metadata(builder)["rejected"]
    flaws = {"absent": 1, "empty": 1, "not an image": 1, "truncated": 1}
    assert {name: rejected[name] for name in flaws} == flaws
    assert [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line] == [
        "imdb_wiki: WARNING: 4 of 11 images (36.4%) cannot be used and are left out:",
        "imdb_wiki: WARNING: 1 absent, 1 empty, 1 not an image, 1 truncated.",
        "imdb_wiki: WARNING: figures from this dataset are not those of IMDB-WIKI; each is listed in "
        f"{builder.data_path}/rejected.csv",
    ]


def test_a_build_that_breaks_in_the_middle_leaves_nothing(manual_dir: Path, monkeypatch):
    written = []
    whole = records.Table.example

    def full(self: records.Table, row: int) -> common.Example:
        written.append(row)
        if len(written) == 6:
            raise OSError(28, "No space left on device")
        return whole(self, row)

    with monkeypatch.context() as patch:
        patch.setattr(records.Table, "example", full)
        with pytest.raises(RunError, match=r"cannot write .*1\.0\.0: No space left on device;"):
            build(manual_dir)
    nothing_is_taken_for_whole(manual_dir)
    assert len(examples(build(manual_dir))) == 11


def test_an_image_that_changes_during_the_build(manual_dir: Path, monkeypatch):
    whole = records.Table.example

    def late(self: records.Table, row: int) -> common.Example:
        for path in (manual_dir / "wiki_crop").glob("0*/*.jpg"):
            path.unlink()
        return whole(self, row)

    monkeypatch.setattr(records.Table, "example", late)
    with pytest.raises(RunError) as caught:
        build(manual_dir)
    said = r"wiki/.*: was good when it was checked and is now absent"
    assert re.fullmatch(said, str(caught.value))
    nothing_is_taken_for_whole(manual_dir)
