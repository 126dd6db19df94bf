"""Outputs are mapped to classes as given, never guessed."""

import pytest

from ageflax import labels
from ageflax.errors import InputError
from ageflax.import_weights.classes import heads_of
from ageflax.import_weights.known import KNOWN


@pytest.mark.parametrize(
    ("classes", "outputs", "rows"),
    [
        ("Male,Female", 2, {"gender": (1, 0)}),
        ("female, male", 2, {"gender": (0, 1)}),
        ("M,F", 2, {"gender": (1, 0)}),
        ("60-100,0-2,3-59", 3, {"age": (1, 2, 0)}),
        ("-,m,-,f", 4, {"gender": (3, 1)}),
        ("male,20-29,female,0-19", 4, {"age": (3, 1), "gender": (2, 0)}),
        ("years", 101, {"years": tuple(range(101))}),
        ("years:18-20", 3, {"years": (None,) * 18 + (0, 1, 2) + (None,) * 80}),
        ("none", 2622, {}),
    ],
)
def test_rows_in_the_order_of_ageflax(classes, outputs, rows):
    found = heads_of(classes, outputs)
    assert found.rows == rows
    for task, names in found.names.items():
        assert len(names) == len(rows[task])
        assert names == list(labels.class_names(task, found.groups))


@pytest.mark.parametrize(
    ("classes", "outputs", "said"),
    [
        (None, 2, "--classes=Male,Female or --classes=Female,Male (sources differ"),
        (None, 8, "--classes=0-2,4-6,8-12"),
        (None, 101, "--classes=years"),
        (None, 7, "--classes=NAME,NAME"),
        ("Male", 2, "1 names"),
        ("Male,Female,0-5", 2, "3 names"),
        ("Male,Male", 2, "one output for female and one for male"),
        ("Male,-", 2, "one output for female and one for male"),
        ("Male,Frau", 2, "'Frau': expected female, male"),
        ("0,1", 2, "'0': expected female, male"),
        ("0-10,5-20", 2, "overlap"),
        ("0-10,0-10", 2, "overlap"),
        ("10-0,11-20", 2, "ends before it begins"),
        ("0-10,-", 2, "0-10: expected at least two age groups"),
        ("-,-", 2, "no output is used"),
        ("years", 100, "100 outputs, expected 101 for the years 0 to 100"),
        ("years:0-80", 101, "101 outputs, expected 81 for the years 0 to 80"),
        ("years:80-0", 81, "expected years from 0 to 100"),
        ("years:30-130", 101, "expected years from 0 to 100"),
        ("years0-80", 81, "expected years or years:FIRST-LAST"),
        (None, 81, "--classes=years:0-80"),
        ("(0, 2),(4, 6)", 2, "4 names"),
        ("", 2, "1 names"),
        ("0-9999,1-2", 2, "'0-9999': expected female, male"),
    ],
)
def test_refusals(classes, outputs, said):
    with pytest.raises(InputError) as refusal:
        heads_of(classes, outputs)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_known_models_have_valid_heads():
    made = {
        name: heads_of(
            known.classes,
            {"years": 101, "years:0-80": 81}.get(known.classes, known.classes.count(",") + 1),
        )
        for name, known in KNOWN.items()
    }
    assert made["levi_gender"].rows == {"gender": (1, 0)}  # the authors list Male, Female
    assert made["dex_gender"].rows == {"gender": (0, 1)}
    assert made["levi_age"].groups == labels.ADIENCE
    assert made["fairface"].rows == {"age": tuple(range(9, 18)), "gender": (8, 7)}
    assert made["vgg_face"].rows == {}
