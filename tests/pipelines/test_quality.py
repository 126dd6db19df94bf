import json

from ageflax.data.washing import leaks
from pipelines.quality import report as quality


def test_counts_of_a_clean_dataset(small_faces):
    found = leaks.find(small_faces)
    report = quality.make(
        found.faces, name=small_faces.name, metadata={"rejected": {}}, washed=found.as_json()
    )
    assert (report["faces"], report["persons"]) == (160, 80)
    assert sum(report["faces_by_fold"]) == 160
    assert sum(report["persons_by_fold"]) == 80  # no subject is in two folds
    for key in ("age_labels", "ages", "genders"):
        columns = [sum(counts[fold] for counts in report[key].values()) for fold in range(5)]
        assert columns == report["faces_by_fold"], key
    assert set(report["genders"]) == {"female", "male"}
    bands = [int(name.split("-")[0]) for name in report["ages"]]
    assert bands == sorted(bands)
    json.dumps(report)


def test_what_is_wrong_is_said_on_the_page(small_faces):
    found = leaks.find(small_faces)
    washed = found.as_json() | {"unusable": {"unreadable": 3, "blank": 1}}
    twice = {"pairs": 2, "across_folds": 2, "across_subjects": 1, "with_different_labels": 1}
    washed["pairs"] = {**washed["pairs"], "same file": twice}
    metadata = {"rejected": {"no face": 7}, "edition": "server <1>", "licence": None}
    report = quality.make(found.faces, name="x/y/1.0.0", metadata=metadata, washed=washed)
    page = quality.page(report)
    assert "4 images are useless" in page
    assert "2 pairs show one picture in two folds" in page
    assert "no face (left out by the builder)" in page
    assert "server &lt;1&gt;" in page  # a source's words are text, not markup
    assert "No faults found" not in page
    assert "http" not in page  # opens from disk


def test_nothing_wrong_is_said_too(small_faces):
    found = leaks.find(small_faces)
    washed = found.as_json()
    for counts in washed["pairs"].values():
        counts.update(dict.fromkeys(counts, 0))
    report = quality.make(found.faces, name="x", metadata={}, washed=washed)
    assert "No faults found" in quality.page(report)
