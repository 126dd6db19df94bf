import csv
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from ageflax.errors import InputError, RunError
from tests.support.built_dataset import examples, metadata
from tfds_builders.adience import survey
from tfds_builders.adience.adience_dataset_builder import Builder
from tfds_builders.adience.dummy_build import build, pack


def refusal(manual_dir: Path, config: str | None = None) -> str:
    with pytest.raises(InputError) as caught:
        build(manual_dir, config)
    text = str(caught.value)
    assert "\n" not in text
    left = (manual_dir.parent / "built").rglob("*incomplete*")
    assert list(left) == []
    return text


def listing(builder: Builder) -> list[dict[str, str]]:
    with (Path(builder.data_path) / survey.LISTING).open(newline="") as file:
        return list(csv.DictReader(file))


def paths(manual_dir: Path) -> list[Path]:
    return sorted((manual_dir / "aligned").rglob("*.jpg"))


def test_a_damaged_archive_leaves_nothing_behind(manual_dir: Path):
    pack(manual_dir, "aligned")
    archive = manual_dir / "aligned.tar.gz"
    archive.write_bytes(archive.read_bytes()[:-100])
    assert refusal(manual_dir).startswith(f"{archive}: truncated or damaged (")


def test_spoiled_images_are_left_out_counted_listed_and_warned_of(manual_dir, capsys):
    first, second, third, fourth, fifth = paths(manual_dir)[::2]  # one in each fold
    first.unlink()
    second.write_bytes(b"")
    third.write_text("<html>404</html>")
    fourth.write_bytes(fourth.read_bytes()[:300])
    header = bytearray(fifth.read_bytes())
    frame = re.search(b"\xff[\xc0\xc2]", header)
    assert frame
    header[frame.start() + 5 : frame.start() + 9] = b"\xff\xdc\xff\xdc"  # 65,500 x 65,500
    fifth.write_bytes(header)
    builder = build(manual_dir)
    assert len(examples(builder)) == 5
    assert metadata(builder)["rejected"] == {
        "absent": 1,
        "empty": 1,
        "too large": 1,
        "not an image": 1,
        "truncated": 1,
    }
    assert {row["path"]: row["reason"] for row in listing(builder)} == {
        str(path.relative_to(manual_dir)): reason
        for path, reason in (
            (first, "absent"),
            (second, "empty"),
            (third, "not an image"),
            (fourth, "truncated"),
            (fifth, "too large"),
        )
    }
    said = [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line]
    assert said == [
        "adience: WARNING: 5 of 10 images (50.0%) cannot be used and are left out:",
        "adience: WARNING: 1 absent, 1 empty, 1 too large, 1 not an image, 1 truncated.",
        "adience: WARNING: figures from this dataset are not Adience's; each is listed in "
        f"{builder.data_path}/unreadable.csv",
    ]


def test_absent_images_with_an_archive_at_hand(manual_dir, capsys):
    (manual_dir / "aligned.tar.gz").touch()
    paths(manual_dir)[0].unlink()
    build(manual_dir)
    assert "the archive is there too, but was not read" in capsys.readouterr().err


def test_no_image_at_all(manual_dir: Path):
    for path in paths(manual_dir):
        path.unlink()
    assert refusal(manual_dir) == (
        f"{manual_dir}: none of the 10 images of the fold files is there, neither in the folder "
        "aligned nor in the archive aligned.tar.gz (the folder is read if both are there); expected "
        "files such as aligned/1001@N01/landmark_aligned_face.1.101_a_o.jpg"
    )


def test_an_archive_packed_from_within_the_folder(manual_dir: Path):
    with tarfile.open(manual_dir / "aligned.tar", "w") as archive:
        archive.add(manual_dir / "aligned", ".")
    shutil.rmtree(manual_dir / "aligned")
    text = refusal(manual_dir)
    assert ": none of the 10 images of the fold files is there, neither in the folder" in text
    assert re.search(
        r"files such as aligned/1001@N01/landmark_aligned_face.1.101_a_o.jpg, found 100\d@N0", text
    )


def test_no_usable_image(manual_dir: Path):
    for path in paths(manual_dir):
        path.write_text("<html>404</html>")
    assert refusal(manual_dir) == (
        f"{manual_dir}: none of the 10 images can be used: 10 not an image"
    )


def test_no_usable_image_in_a_fold(manual_dir: Path):
    for path in (manual_dir / "aligned/1002@N02").iterdir():
        path.unlink()
    assert refusal(manual_dir) == (
        f"{manual_dir}: none of the images of fold 1 can be used; of all 10 images: 2 absent"
    )


def test_neither_folder_nor_archive(manual_dir: Path):
    assert (manual_dir / "faces").rename(manual_dir / "elsewhere")
    assert refusal(manual_dir, "faces") == (
        f"no images: neither the folder {manual_dir}/faces nor the archive "
        f"{manual_dir}/faces.tar.gz is there"
    )


def test_no_manual_dir(tmp_path: Path):
    assert refusal(tmp_path / "none") == (
        f"Manual directory {tmp_path}/none does not exist or is empty. Expected "
        "fold_0_data.txt to fold_4_data.txt and the folder or archive of images; name the folder "
        "that holds them with --manual_dir"
    )


def test_a_manual_dir_without_fold_files(manual_dir: Path):
    (manual_dir / "fold_2_data.txt").unlink()
    assert refusal(manual_dir).startswith(f"{manual_dir}: no fold_2_data.txt; the folder must")


def test_a_subject_in_two_folds(manual_dir: Path):
    first, second = manual_dir / "fold_0_data.txt", manual_dir / "fold_1_data.txt"
    second.write_text(second.read_text() + first.read_text().splitlines()[1] + "\n")
    assert refusal(manual_dir) == (
        "fold_1_data.txt, line 4: face_id 1 is also in fold 0 (fold_0_data.txt, line 2); a test fold "
        "would leak into training"
    )


def test_an_image_that_changes_during_the_build(manual_dir, monkeypatch):
    checked = survey.survey

    def check_then_lose(faces, read):
        result = checked(faces, read)
        paths(manual_dir)[0].unlink()
        return result

    monkeypatch.setattr(survey, "survey", check_then_lose)
    with pytest.raises(RunError, match=": was good when it was checked and is now absent"):
        build(manual_dir)
