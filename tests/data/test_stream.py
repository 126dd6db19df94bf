import numpy as np
import pytest

from ageflax.data.stream import stream


class Squares:
    def __call__(self, step: int) -> dict[str, np.ndarray]:
        return {"x": np.full((3,), step * step)}


@pytest.mark.parametrize("workers", [0, 2])
def test_the_stream_is_in_order_and_starts_where_it_is_told(workers):
    elements = list(stream(Squares(), 3, 12, workers=workers))
    assert [element["x"][0] for element in elements] == [step**2 for step in range(3, 12)]
