"""Exported files answer in JavaScript as in Python, and say there what their numbers mean.

Needs node, and AGEFLAX_ORT_WEB, a folder in which `npm install onnxruntime-web onnxruntime-node` was run (one
of the two is enough).
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import ageflax.export
from ageflax.bundle import load
from ageflax.export.write import export
from ageflax.weights import shipped

FOLDER = Path(os.environ.get("AGEFLAX_ORT_WEB", "/nowhere")) / "node_modules"
INSTALLED = [n for n in ("onnxruntime-web", "onnxruntime-node") if (FOLDER / n).is_dir()]
PRECISIONS = ("float32", "float16", "int8")
EXAMPLE = re.search(
    r"```js\n(.*?)```", (Path(ageflax.export.__path__[0]) / "README.md").read_text(), re.DOTALL
)
# Answers of several files to the same faces, as one line of JSON.
ANSWERS = """\
import * as ort from 'PACKAGE';
import { readFileSync } from 'node:fs';

const faces = new ort.Tensor('uint8', new Uint8Array(readFileSync('faces.rgb')), [5, 36, 36, 3]);
const found = {};
for (const name of process.argv.slice(2)) {
  const session = await ort.InferenceSession.create(new Uint8Array(readFileSync(`${name}.onnx`)));
  const outputs = await session.run({ images: faces });
  const listed = Object.entries(outputs).map(([key, { data, dims }]) => [key, [[...data], dims]]);
  found[name] = Object.fromEntries(listed);
}
console.log(JSON.stringify(found));
"""

pytestmark = pytest.mark.skipif(
    not (INSTALLED and shutil.which("node")),
    reason="needs node, and AGEFLAX_ORT_WEB with onnxruntime-web or onnxruntime-node",
)


@pytest.fixture
def node(tmp_path):
    """Runs a module in a folder where the packages are; returns the JSON that it prints last."""
    (tmp_path / "node_modules").symlink_to(FOLDER.resolve())

    def ran(text, *words):
        (tmp_path / "program.mjs").write_text(text)
        done = subprocess.run(
            ["node", "program.mjs", *words],
            cwd=tmp_path, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return ran


def in_python(path, faces):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, map(np.asarray, session.run(names, {"images": faces})), strict=True))


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    """Folder of one model in every precision."""
    folder = tmp_path_factory.mktemp("exported")
    for precision in PRECISIONS:
        export(model, folder / f"{precision}.onnx", precision=precision)
    return folder


@pytest.mark.parametrize("package", INSTALLED)
def test_every_precision_answers_as_in_python(package, exported, node, tmp_path):
    faces = np.random.default_rng(0).integers(0, 256, (5, 36, 36, 3), np.uint8)
    (tmp_path / "faces.rgb").write_bytes(faces.tobytes())
    for path in exported.iterdir():
        shutil.copy(path, tmp_path)
    found = node(ANSWERS.replace("PACKAGE", package), *PRECISIONS)
    for precision in PRECISIONS:
        expected = in_python(exported / f"{precision}.onnx", faces)
        assert found[precision].keys() == expected.keys()
        for name, values in expected.items():
            numbers, shape = found[precision][name]
            assert tuple(shape) == values.shape
            given = np.reshape(numbers, shape)
            np.testing.assert_allclose(given, values, rtol=1e-5, atol=1e-5)


@pytest.mark.skipif("onnxruntime-web" not in INSTALLED, reason="needs onnxruntime-web")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_readmes_example_reads_a_face_with_the_default_model(precision, node, tmp_path):
    assert EXAMPLE
    export(load(shipped.NAME), tmp_path / "age.onnx", precision=precision)
    face = np.random.default_rng(0).integers(0, 256, (1, 150, 150, 3), np.uint8)
    (tmp_path / "face.rgb").write_bytes(face.tobytes())
    found = node(EXAMPLE[1])
    expected = in_python(tmp_path / "age.onnx", face)
    assert found["age"] == pytest.approx(expected["age"][0], rel=1e-5)
    assert found["gender"].keys() == {"female", "male"}
    shares = expected["gender_probabilities"][0]
    np.testing.assert_allclose(list(found["gender"].values()), shares, atol=1e-5)
    assert found["licence"].startswith("Non-commercial research only")
