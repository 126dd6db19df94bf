import pytest

from ageflax.compile_for import chips
from ageflax.errors import InputError


def test_a_slice_by_its_name() -> None:
    found = chips.parse("v5p:2x4x4")
    assert (found.chip.name, found.shape, found.size) == ("v5p", (2, 4, 4), 32)
    assert found.name == "v5p:2x4x4"


def test_axes_may_come_in_any_order() -> None:
    assert chips.parse("v5e:4x2") == chips.parse("v5e:2x4")


def test_every_slice_that_is_offered_can_be_asked_for() -> None:
    for chip in chips.CHIPS.values():
        sizes = [chips.Slice(chip, shape).size for shape in chip.slices]
        assert sizes == sorted(set(sizes)) and sizes[-1] == 256
        for shape in chip.slices:
            assert chips.parse(chips.Slice(chip, shape).name).shape == shape


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "use v5e, v5p, v6e"),
        ("v5", "unknown chip 'v5'"),
        ("h100:8", "unknown chip 'h100'"),
        ("V5E:2x4", "unknown chip 'V5E'"),
        ("v5e", "such as v5e:2x4"),
        ("v5e:", "such as v5e:2x4"),
        ("v5e:8", "2 lengths"),
        ("v5e:2x4x4", "2 lengths"),
        ("v5p:2x4", "3 lengths"),
        ("v5e:2xx4", "2 lengths"),
        ("v5e:-2x4", "2 lengths"),
        ("v5e:2x4.0", "2 lengths"),
        ("v5e:٢x٤", "2 lengths"),
        ("v5e:0x4", "no such slice; v5e has 1x1"),
        ("v5e:3x3", "1x1, 2x2, 2x4"),
        ("v5e:16x32", "no such slice; v5e has 1x1"),
        ("v5e:99999999999999999999x2", "no such slice; v5e has 1x1"),
    ],
)
def test_unknown_slices_are_refused_with_a_list(text: str, words: str) -> None:
    with pytest.raises(InputError, match="--topology=") as refusal:
        chips.parse(text)
    assert words in str(refusal.value)
