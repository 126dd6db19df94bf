"""Lists of labelled photographs: labels.csv, files elsewhere, and names of files."""

import pytest

from ageflax.errors import InputError
from ageflax.predict.photographs import listing

FGNET = ("001A02.JPG", "001A43a.JPG", "001A43b.JPG", "002a03.jpg")


@pytest.fixture
def said():
    return []


def named(folder, names):
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).touch()
    return folder


def test_a_labels_file_and_photographs_without_a_row(folder, listed, said):
    listed(
        "path,age,gender,subject,race", "a.jpg,26,f,Ann,x", "c.jpg,31.5,m,,x", "sub/b.jpg,,,Bob,x"
    )
    found = listing.find(folder, None, said.append)
    assert [(face.path, face.age, face.subject) for face in found.faces] == [
        ("a.jpg", 26.0, "Ann"),
        ("c.JPG", 31.5, ""),
    ]
    assert found.left_out == {"no label": 1}
    assert (found.subjects, found.unlisted, found.labels) == ("some", 3, str(folder / "labels.csv"))
    assert found.edition.startswith("labels.csv, md5 ")
    assert said == [
        "notice: columns not used: race",
        "notice: paths spelled otherwise on disk, in the case of the suffix or in Unicode form: 1, such as"
        " 'c.JPG' for 'c.jpg'",
        "1 of 3 rows are left out: 1 no label; line 4: no age, age group or gender",
        f"without a row in the list: 3 photographs in {folder}",
    ]


def test_a_list_elsewhere_names_paths_in_the_folder_and_folds_are_of_no_account(
    folder, tmp_path, said
):
    (tmp_path / "list.csv").write_text(
        "file,age_group,fold\na.jpg,20-29,train\nsub/b.jpg,70+,test\n"
    )
    found = listing.find(folder, str(tmp_path / "list.csv"), said.append)
    assert [face.age_group for face in found.faces] == ["20-29", "70+"]
    assert found.subjects == "none"


def test_names_of_fgnet(tmp_path, said):
    folder = named(tmp_path / "FGNET" / "images", [*FGNET, "readme.txt", "scan.jpg", "001a02.pts"])
    found = listing.find(folder.parent, "fgnet", said.append)
    assert [(face.path, face.age, face.subject) for face in found.faces] == [
        ("images/001A02.JPG", 2.0, "001"),
        ("images/001A43a.JPG", 43.0, "001"),
        ("images/001A43b.JPG", 43.0, "001"),
        ("images/002a03.jpg", 3.0, "002"),
    ]
    assert (found.edition, found.labels, found.subjects) == ("", "fgnet", "all")
    assert said == [
        "fgnet: 4 photographs of 2 people, where the whole dataset has 1,002 of 82",
        "1 of 5 rows are left out: 1 name; images/scan.jpg: not named as 001A43a.JPG",
    ]


def test_the_whole_of_fgnet_is_no_news(tmp_path, said):
    names = [f"{1 + k % 82:03}A{k // 82:02}.JPG" for k in range(1002)]
    found = listing.find(named(tmp_path / "FGNET", names), "fgnet", said.append)
    assert (len(found.faces), said) == (1002, [])


@pytest.mark.parametrize(
    ("labels", "content", "message"),
    [
        (None, None, "--labels: no {folder}/labels.csv; name a file with the columns path and age,"),
        ("gone.csv", None, "--labels: no gone.csv; name a file with the columns path and age, age_group"
         " or gender, or a naming of the photographs: fgnet, agedb, utkface"),
        ("fgnet", None, "fgnet: none of its 6 rows can be used: 6 name; a.jpg: not named as 001A43a.JPG"),
        (None, "photo,age\na.jpg,3\n", "{folder}/labels.csv: no column 'path'; its columns: photo, age;"),
        (None, "path,age\n", "{folder}/labels.csv: no rows below the first line"),
        (None, "path,note\na.jpg,x\n", "{folder}/labels.csv: none of the columns age, age_group, gender"),
        (None, "path,age\na.jpg,3-9\n", "{folder}/labels.csv: none of its 1 rows can be used: 1 age; line"
         " 2: age '3-9' is not a number of years; rename age to age_group if it holds ranges"),
        (None, "path,age\n../a.jpg,3\n", "{folder}/labels.csv: none of its 1 rows can be used: 1 path;"),
    ],
)  # fmt: skip
def test_lists_that_cannot_be_used(folder, said, labels, content, message):
    if content is not None:
        (folder / "labels.csv").write_text(content)
    with pytest.raises(InputError) as caught:
        listing.find(folder, labels, said.append)
    assert str(caught.value).startswith(message.format(folder=folder))
    assert "\n" not in str(caught.value)


def test_folders_that_are_none(tmp_path, said):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name, labels, message in (
        ("gone", None, "no such folder"),
        ("file", None, "a file; name its folder"),
        ("empty", "fgnet", "no photograph in this folder or below it"),
    ):
        with pytest.raises(InputError) as caught:
            listing.find(tmp_path / name, labels, said.append)
        assert str(caught.value) == f"--photos={tmp_path / name}: {message}"
