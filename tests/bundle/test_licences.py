import logging

import pytest

from ageflax import bundle
from ageflax.bundle import licences
from tests.support import small_bundle


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        (None, "unknown"),
        ("", "unknown"),
        ("  \n", "unknown"),
        (3, "unknown"),
        ("Apache-2.0 (drawn by this project)", "apache-2.0"),
        ("Apache License, Version 2.0", "apache-2.0"),
        ("MIT", "mit"),
        ("CC BY 4.0", "cc-by-4.0"),
        ("CC-BY-SA-4.0", "cc-by-sa-4.0"),
        ("CC0 1.0", "cc0-1.0"),
        ("BSD-3-Clause", "bsd-3-clause"),
        ("CC BY-NC 4.0", "other"),
        ("CC-BY-NC-SA-4.0", "other"),
        ("MIT, for non-commercial use", "other"),
        ("Apache-2.0 for research purposes only", "other"),
        ("MITRE's own", "other"),
        ("for academic research only", "other"),
        ("Not Apache-2.0", "other"),
    ],
)
def test_a_licence_is_free_only_where_it_is_known_to_be(text, identifier):
    assert licences.identifier(text) == identifier


def test_every_builders_terms_but_the_drawn_faces_bind():
    from tfds_builders.adience.adience_dataset_builder import TERMS as ADIENCE
    from tfds_builders.imdb_wiki.imdb_wiki_dataset_builder import TERMS as IMDB_WIKI
    from tfds_builders.labeled_faces.labeled_faces_dataset_builder import TERMS as LABELED_FACES

    for terms in (ADIENCE, IMDB_WIKI, LABELED_FACES):
        line = licences.notice({"name": "x/y", "licence": terms}, {})
        assert line is not None
        assert line.startswith("weights trained on x/y, under terms that bind them too: ")
        assert terms in line


@pytest.mark.parametrize(
    ("data", "source"),
    [
        ({}, {}),
        ({"licence": [1]}, {"weights": [1]}),
        ({"name": "x", "licence": None}, {}),
        ({"name": "x", "licence": "MIT"}, {"weights": None}),
        ({}, {"weights": {"source": "timm/x", "licence": "Apache-2.0"}}),
    ],
)
def test_nothing_is_said_of_what_is_free_or_not_stated(data, source):
    assert licences.notice(data, source) is None


def test_what_training_started_from_counts_too():
    weights = {"source": "vgg_face", "licence": "Non-commercial."}
    line = licences.notice({"licence": "MIT"}, {"weights": weights})
    assert line == "training started from vgg_face, under terms that bind them too: Non-commercial."


def test_hostile_terms_are_one_printable_line():
    licence = "Mine\x1b[2J\r\nand\x07 mine \u202e" + "x" * 10_000
    line = licences.notice({"name": "a\nb" * 1000, "licence": licence}, {})
    assert line is not None
    assert line.isprintable()
    assert len(line) < 800
    assert line.endswith("...")


def test_a_load_says_it_once_for_all_that_answer_together(tmp_path, caplog):
    folders = [small_bundle.write(tmp_path / f"fold_{k}" / "bundle") for k in range(3)]
    with caplog.at_level(logging.WARNING, logger="ageflax"):
        bundle.ensemble(tmp_path)
    assert caplog.messages == [
        "weights trained on adience/aligned/1.0.0, under terms that bind them too: By form, for"
        " research only."
    ]
    assert caplog.records[0].name == "ageflax"
    caplog.clear()
    bundle.load(folders[0])
    assert len(caplog.messages) == 1
    caplog.clear()
    bundle.load(small_bundle.write(tmp_path / "free", data={"name": "x", "licence": "MIT"}))
    assert caplog.messages == []
