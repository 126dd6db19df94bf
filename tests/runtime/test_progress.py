"""Progress without a terminal: plain lines, with a total where one is known."""

import types

import pytest

from ageflax.runtime import progress


@pytest.mark.parametrize(("total", "counted"), [(8, "2/8 images"), (None, "2 images")])
def test_a_line_now_and_then(monkeypatch, capfd, total, counted):
    now = iter([0.0, 4.0, 20.0, 20.0])
    # The module's own clock: on the process's, other tests' servers wait, which then sleep for hours.
    clock = types.SimpleNamespace(monotonic=lambda: next(now))
    monkeypatch.setattr(progress, "time", clock)
    with progress.Progress(total, unit="image", label="looking") as bar:
        bar.update()
        bar.update()
    assert capfd.readouterr().err == f"looking: {counted}  0.1 images/s\n"
