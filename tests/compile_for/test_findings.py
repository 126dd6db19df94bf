import dataclasses
from typing import Any

import pytest

from ageflax.compile_for import findings
from ageflax.compile_for.hlo import Collective
from ageflax.compile_for.steps_of import Compiled

SOUND = Compiled(
    step="train",
    images=256,
    dtype="bfloat16",
    seconds=60.0,
    arguments=10**8,
    temporaries=10**9,
    code=10**7,
    flops=1e12,
    bytes=8e9,
    cycles=21 * 10**6,
    collectives=[Collective("all-reduce", 23 * 10**6, ("bf16",), 12)],
    products={"bf16 x bf16": 17},
    host_calls=[],
    padding=0.01,
    parameter_bytes=46 * 10**6,
)


def test_a_sound_step_has_no_faults() -> None:
    assert findings.faults(SOUND) == []
    assert SOUND.memory == 10**9 + 10**8 + 10**7


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"collectives": [Collective("all-gather", 99, ("bf16",), 1)]}, "all-gather of 99 bytes"),
        ({"collectives": [Collective("all-to-all", 4, ("f32",), 1)]}, "all-to-all"),
        ({"collectives": [Collective("all-reduce", 48 * 10**6, ("f32",), 1)]}, "48,000,000"),
        ({"collectives": [Collective("all-reduce", 24 * 10**6, ("f32",), 1)] * 2}, "48,000,000"),
        ({"step": "evaluate"}, "all-reduces of 23,000,000 bytes"),
        ({"host_calls": ["xla_python_cpu_callback"]}, "waits for the host"),
        ({"products": {"bf16 x bf16": 16, "f32 x f32": 1}}, "1 convolutions or matrix products"),
        ({"products": {"bf16 x f32": 2}}, "of bf16 x f32"),
    ],
)
def test_faults(changes: dict[str, Any], words: str) -> None:
    (fault,) = findings.faults(dataclasses.replace(SOUND, **changes))
    assert words in fault


@pytest.mark.parametrize(
    "changes",
    [
        {"step": "evaluate", "collectives": [Collective("all-gather", 4096, ("f32",), 1)]},
        {"dtype": "float32", "products": {"f32 x f32": 17}},
        {"collectives": [Collective("all-reduce", 46 * 10**6, ("f32",), 1)]},
        {"collectives": []},
    ],
)
def test_allowed_steps_have_no_faults(changes: dict[str, Any]) -> None:
    assert findings.faults(dataclasses.replace(SOUND, **changes)) == []


@pytest.mark.parametrize("start", [1, 4, 64, 1024])
@pytest.mark.parametrize(("limit", "expected"), [(100, 64), (64, 64), (1, 1), (0, 0), (9999, 512)])
def test_the_largest_power_of_two_that_fits_wherever_the_search_starts(
    start: int, limit: int, expected: int
) -> None:
    asked = []

    def fits(size: int) -> bool:
        asked.append(size)
        return size <= limit

    most = max(512, start) if limit < 9999 else 512
    if start <= most:
        assert findings.largest_batch(fits, start, most=most) == expected
    assert len(asked) == len(set(asked))


def test_the_search_starts_where_temporaries_in_proportion_fit() -> None:
    assert findings.likely_largest(256, 10**9, 10**9, 17e9) == 4096
    assert findings.likely_largest(256, 10**9, 10**9, 16.9e9) == 2048
    assert findings.likely_largest(64, 10**9, 2 * 10**9, 1e9) == 1
    assert findings.likely_largest(64, 0, 0, 1e9) > 64
