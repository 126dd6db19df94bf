"""Each benchmark runs on tiny settings and leaves the promised figures; no figure is asserted."""

import functools
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ageflax import config as configuration
from ageflax.runtime import command_line
from tests.benchmarks import (
    accelerator,
    end_to_end,
    evaluation,
    folder,
    inference,
    input,
    kernel_gradient,
    machine,
    memory,
    scaling,
    training_step,
)
from tests.predict import drawn_models
from tfds_builders.synthetic_faces import drawing, population

CONFIGS = Path(__file__).parents[2] / "configs"


def _positive(rates: Mapping[Any, float]) -> bool:
    return all(np.isfinite(rate) and rate > 0 for rate in rates.values())


def _run(module, capsys, path, *words: str):
    """The JSON and the table that a benchmark leaves."""
    assert module.main([*words, f"--output={path}"]) == 0
    written = json.loads(path.read_text())
    assert written["machine"]["command"][-1] == f"--output={path}"
    return written, capsys.readouterr().out


def test_input(tmp_path, data_dir, capsys):
    written, table = _run(
        input, capsys, tmp_path / "found.json",
        "--source=32", "--size=16", "--crop=12", "--batch=16", "--count=8", "--turns=1", "--workers=0",
        f"--data_dir={data_dir}",
    )  # fmt: skip
    assert set(written["images_per_second"]) == {
        "libjpeg-turbo alone",
        "decoded, bilinear",
        "decoded, area",
        "decoded, reduced",
        "streamed, bilinear, threads",
        "streamed, reduced, threads",
        "prepared, memory-mapped",
    }
    assert _positive(written["images_per_second"])
    assert set(written["starts"]) == {"first", "second"}
    assert (
        written["reduced_differs_from"]["area, mean"]
        < written["reduced_differs_from"]["area, most"]
    )
    assert "| libjpeg-turbo alone |" in table
    assert "| 1.00 |" in table


def test_evaluation(tmp_path, capsys):
    written, table = _run(
        evaluation, capsys, tmp_path / "found.json",
        "--configs=quickstart", "--batch=4", "--turns=1",
    )  # fmt: skip
    (row,) = written["configs"]
    assert set(row["images_per_second"]) == {"training's forward", "evaluation"}
    assert _positive(row["images_per_second"])
    assert "| quickstart |" in table


def test_inference(tmp_path, capsys):
    written, table = _run(
        inference, capsys, tmp_path / "found.json", "--configs=quickstart", "--turns=1", "--least=0"
    )
    found = written["models"]["quickstart"]
    for runtime in ("jax", "onnxruntime", "onnxruntime uint8"):
        assert set(found["milliseconds"][runtime]) == {"1", "32"}
    assert all(_positive(by_batch) for by_batch in found["milliseconds"].values())
    assert "| quickstart | 32 |" in table


@pytest.mark.usefixtures("loose_promotion")
def test_end_to_end(tmp_path, data_dir, small_faces, capsys):
    name = "/".join(small_faces.name.split("/")[:-1])
    written, table = _run(
        end_to_end, capsys, tmp_path / "found.json",
        "--config=quickstart", f"--data={name}", f"--data_dir={data_dir}", "--placements=host",
        "--steps=4", "--log_every=2", "--bare_steps=1", "--turns=1",
        "--config.data.resize=32", "--config.data.crop=27", "--config.data.batch_size=8",
        "--config.model.width=0.05",
    )  # fmt: skip
    assert set(written["over_bare_step"]) == {"host"}
    assert _positive(written["images_per_second"])
    assert len(written["rates"]["bare step"]) == 2
    assert "| bare step |" in table


@pytest.mark.long
def test_scaling(tmp_path, capsys):
    written, table = _run(
        scaling, capsys, tmp_path / "found.json",
        "--batch=4", "--layouts=1x2", "--turns=1", "--steps=1",
        "--config.data.resize=32", "--config.data.crop=27", "--config.model.width=0.05",
    )  # fmt: skip
    assert written["failed"] == {}
    assert written["devices"] == {"1x2": 2}
    assert written["over_first"] == {"1x2": 1.0}
    assert "| 1x2 | 2 |" in table


@pytest.mark.long
def test_memory(tmp_path, capsys):
    written, table = _run(
        memory, capsys, tmp_path / "found.json", "--faces=800,900", "--tasks=build"
    )
    found = written["tasks"]["build"]
    assert [point["faces"] for point in found["points"]] == [800, 900]
    assert all(point["bytes"] > 1e7 for point in found["points"])
    assert "| build | 900 |" in table


def test_a_folder(tmp_path, capsys):
    model = drawn_models.write(tmp_path / "model")
    people = population.populate(40, 0)[:2]
    for number, subject in enumerate(people):
        content = drawing.photograph(subject, 0, size=128, seed=0)
        (tmp_path / f"{number}.jpg").write_bytes(content)
    words = [
        f"--photos={tmp_path}",
        "--detector=none",
        f"--model={model}",
        "--count=20",
        "--engines=onnxruntime",
    ]
    assert folder.main(words) == 0
    _, engine, faces, *milliseconds, _ = capsys.readouterr().out.splitlines()[-1].split("|")
    assert (engine.strip(), float(faces)) == ("onnxruntime", 1.0)
    assert np.isfinite([float(cell) for cell in milliseconds]).all()


def test_the_derivative_by_a_kernel(monkeypatch, capsys):
    monkeypatch.setattr(kernel_gradient, "SHAPES", {"small": (7, 3, 5, 3, 2, 1)})
    assert kernel_gradient.main(["--batch=4", "--turns=1"]) == 0
    _, _, *cells, _ = capsys.readouterr().out.splitlines()[-1].split("|")
    assert _positive(dict(enumerate(map(float, cells))))


def test_a_line_is_told_from_a_square():
    sizes = [1000, 2000, 4000, 8000]
    line = memory.fitted(sizes, [5 + 0.001 * n for n in sizes])
    assert line["at_zero"] == pytest.approx(5)
    assert line["per_face"] == pytest.approx(0.001)
    assert (line["r2"], line["bend"]) == pytest.approx((1.0, 1.0))
    assert line["far"] == pytest.approx(505)
    square = memory.fitted(sizes, [1e-6 * n * n for n in sizes])
    assert square["bend"] > 2
    assert square["r2"] < 0.97


@pytest.mark.usefixtures("loose_promotion")
def test_the_training_step_has_rates(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training_step.machine, "matrix_product_tflops", lambda dtype: 1.0)
    written, table = _run(
        training_step, capsys, tmp_path / "found.json",
        "--configs=quickstart", "--batch=4", "--turns=1", "--steps=1",
    )  # fmt: skip
    assert written["trunks"][0]["images_per_second"]["ageflax"] > 0
    assert written["trunks"][0]["over_best_torch"] is None
    assert "| quickstart | 4 |" in table


def test_a_trunk_without_a_config_of_its_own_has_a_step_too():
    config = training_step.plain_config("efficientnet_lite0", 4, "float32")
    assert (config.model.name, config.data.batch_size) == ("efficientnet_lite0", 4)


def test_products_are_counted_wherever_they_are_in_a_function():
    conv = functools.partial(
        jax.lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )

    @jax.jit
    def network(x, kernel, weights):
        features = conv(x, kernel, (2, 2), "SAME").reshape(2, -1)  # 2 images of 4x4, 5 channels
        for_branch = jax.lax.cond(True, lambda v: v, lambda v: v, features)
        final, _ = jax.lax.scan(lambda carry, _: (carry @ weights, None), for_branch, length=3)
        return jax.checkpoint(jnp.tanh)(final)

    shapes = [jax.ShapeDtypeStruct(s, np.float32) for s in [(2, 8, 8, 3), (3, 3, 3, 5), (80, 80)]]
    convolution, products = 2 * (2 * 4 * 4 * 5) * (3 * 3 * 3), 3 * 2 * (2 * 80 * 80)
    assert machine.product_gflop(network, *shapes) == (convolution + products) / 1e9


def test_an_accelerators_measurements_are_commands_that_there_are(monkeypatch):
    monkeypatch.setattr(command_line, "run", lambda name, function: 0)
    measured = accelerator.measurements(["--config.data.dir=/data"], dispatch=5)
    assert [m.module for m in measured].count("ageflax.main") == 1
    for each in measured:
        if each.module == "ageflax.main":
            config = configuration.load(str(CONFIGS / "levi.py"), each.words[1:])
            assert (config.model.dtype, config.data.dir) == ("bfloat16", "/data")
        else:
            words = each.command(Path("found"), "python")[3:]
            assert importlib.import_module(each.module).main(words) == 0


def test_what_an_accelerator_has_measured_is_not_measured_again(tmp_path, monkeypatch, capfd):
    given = [
        accelerator.Measurement("fails", "no_such_module", ()),
        accelerator.Measurement("works", "platform", ()),
        accelerator.Measurement("left out", "platform", ()),
    ]
    monkeypatch.setattr(accelerator, "measurements", lambda data, dispatch: given)
    words = [f"--output={tmp_path}", "--only=fails,works"]
    assert accelerator.main(words) == 1
    assert "fails: see their .log" in capfd.readouterr().err
    state = json.loads((tmp_path / "state.json").read_text())
    assert state["done"] == ["works"]
    assert set(state["seconds"]) == {"fails", "works"}
    given[0] = accelerator.Measurement("fails", "platform", ())
    assert accelerator.main(words) == 0
    assert "works: in " in capfd.readouterr().err
    assert accelerator.main([f"--output={tmp_path}", "--only=nothing"]) == 2


@pytest.mark.parametrize(
    ("module", "words", "message"),
    [
        (input, ["--crop=300"], "--crop at most --size"),
        (input, ["--turns=0"], "at least 1"),
        (end_to_end, ["--config=nothing"], "no configs/nothing.py"),
        (end_to_end, ["--placements=disk"], "'disk' is none of device, host, stream"),
        (scaling, ["--layouts=1"], "expected PROCESSESxDEVICES"),
        (scaling, ["--batch=3", "--layouts=1x2"], "does not divide over the devices of 1x2"),
        (memory, ["--faces=many"], "expected numbers"),
        (memory, ["--faces=2000,1000"], "ascending"),
        (memory, ["--tasks=sleep"], "'sleep' is none of build, train, evaluate"),
        (inference, ["--configs=nothing"], "nothing not among"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(module, words, message, capsys):
    assert module.main(words) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
