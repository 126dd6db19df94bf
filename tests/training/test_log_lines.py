import json

import jax.numpy as jnp
import numpy as np
import pytest

from ageflax.errors import RunError
from ageflax.training import log_lines, program
from ageflax.training.log import MetricsLog
from ageflax.training.log_lines import Records


def metrics(loss, **more):
    count = np.asarray(loss, np.float32)
    base = {
        "loss": count, "update_norm": count * 0 + 1, "age_loss": count, "faces": count * 0 + 4,
        "age_labelled": count * 0 + 2, "age_correct": count * 0 + 1,
    }  # fmt: skip
    return {name: jnp.asarray(value, jnp.float32) for name, value in (base | more).items()}


@pytest.fixture
def records(tmp_path):
    log = MetricsLog(tmp_path, 0)
    found = Records(log, 0, tasks=("age",), batch_size=4, training_faces=8, schedule=lambda _: 0.5)
    yield found
    found.close()
    log.close()


def lines(directory):
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_a_line_is_written_after_the_next_dispatch(records, tmp_path):
    assert records.add(metrics([1.0, 3.0])) == {}
    records.hold(2)
    assert lines(tmp_path) == []
    said = records.add(metrics([5.0, 7.0]))
    assert said["step"] == 2
    (line,) = lines(tmp_path)
    assert (line["loss"], line["age_exact"], line["epoch"], line["learning_rate"]) == (
        2,
        0.5,
        1,
        0.5,
    )
    record = records.finish(4)
    assert len(lines(tmp_path)) == 1
    records.write(record, {"validation_age_exact": 0.25})
    assert lines(tmp_path)[1]["loss"] == 6
    assert lines(tmp_path)[1]["validation_age_exact"] == 0.25


def test_single_steps_and_many_make_the_same_line(tmp_path):
    found = []
    for name, given in (("one", [2.0, 4.0]), ("many", [[2.0, 4.0]])):
        (tmp_path / name).mkdir()
        log = MetricsLog(tmp_path / name, 0)
        each = Records(
            log, 0, tasks=("age",), batch_size=4, training_faces=8, schedule=lambda _: 0.5
        )
        for loss in given:
            each.add(metrics(loss))
        found.append(each.finish(2))
        each.close()
        log.close()
    for record in found:
        assert record.pop("images_per_second") > 0
    assert found[0] == found[1]


def test_the_first_step_that_is_not_finite_is_named():
    fetched = {
        "loss": np.array([1, 1, np.nan]), "update_norm": np.array([1, np.inf, 1]),
        "faces": np.full(3, 4.0),
    }  # fmt: skip
    with pytest.raises(RunError, match="the update of the weights is inf at step 12; earlier"):
        log_lines.means(fetched, 11, tasks=(), batch_size=4)


def test_faces_that_could_not_be_counted_are_reported(records):
    records.add(metrics([1.0, 1.0], faces=np.array([4.0, 3.0])))
    assert records.finish(2)["unreadable"] == 1


@pytest.mark.parametrize(
    ("bounds", "multiple", "breaks", "expected"),
    [
        ((0, 7), 3, [0], [(0, 3), (3, 6), (6, 7)]),
        ((0, 7), 3, [0, 4], [(0, 3), (3, 4), (4, 6), (6, 7)]),
        ((2, 7), 3, [0, 9], [(2, 3), (3, 6), (6, 7)]),
        ((0, 3), 1, [0], [(0, 1), (1, 2), (2, 3)]),
        ((3, 3), 5, [0], []),
    ],
)
def test_pieces_end_at_multiples_breaks_and_the_end(bounds, multiple, breaks, expected):
    found = program.pieces(*bounds, multiple=multiple, breaks=breaks)
    assert [(piece.start, piece.stop) for piece in found] == expected
