import numpy as np
import pytest

from ageflax import config as configuration
from ageflax.data import balance
from ageflax.data.batches import HostBatches
from ageflax.runtime.mesh import make_mesh
from ageflax.training import initial, program

# Faces of each of Adience's groups.
COUNTS = np.array([2, 3, 5, 8, 30, 8, 5, 3])


@pytest.mark.parametrize("amount", [0.0, 0.4, 1.0])
def test_class_weights_even_out_what_the_draws_leave_uneven(amount):
    words = ["--config.model.width=0.05", "--config.loss.class_weights=balanced",
             f"--config.data.balance={amount}", "--config.data.resize=32", "--config.data.crop=27",
             "--config.data.batch_size=8"]  # fmt: skip
    config, mesh = configuration.load("configs/levi.py", words), make_mesh()
    built = program.build(config, mesh, training_faces=64.0)
    labels = {"age": np.repeat(np.arange(8, dtype=np.int32), COUNTS)}
    rows = np.arange(len(labels["age"]))
    placement = HostBatches(np.zeros((len(rows), 32, 32, 3), np.uint8), labels, mesh)
    drawn = balance.draws(labels, rows, balance=config.data.balance, by=config.data.balance_by)
    found = initial._class_weights(config, built, placement, rows, drawn)["age"]
    expected = COUNTS / COUNTS.sum() if drawn is None else np.bincount(
        labels["age"], drawn.expected
    ) / drawn.expected.sum()  # fmt: skip
    # Share of the draws times weight: the same for all classes, and one in all.
    np.testing.assert_allclose(found * expected, 1 / 8, rtol=1e-5)
    if amount == 1.0:
        np.testing.assert_allclose(found, 1.0, rtol=1e-4)
    else:
        assert found.max() / found.min() == pytest.approx(15 ** (1 - amount), rel=1e-3)
