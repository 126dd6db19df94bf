"""Fixtures that run the command, and a small file."""

import pytest

from ageflax.import_weights import __main__ as command
from tests.weights.formats import caffe_nets

AGES = "0-2,4-6,8-12,15-20,25-32,38-43,48-53,60-100"


@pytest.fixture
def run(tmp_path, capsys):
    """Runs the command on a file given as bytes or a path; returns code, bundle and stderr."""

    def ran(content, *words, framework="caffe", arch="levi_hassner"):
        path = content
        if isinstance(content, bytes):
            path = tmp_path / "weights.file"
            path.write_bytes(content)
        output = tmp_path / "bundle"
        capsys.readouterr()
        code = command.main(
            [
                f"--from={framework}",
                f"--arch={arch}",
                f"--input={path}",
                f"--output={output}",
                *words,
            ]
        )
        return code, output, capsys.readouterr().err

    return ran


@pytest.fixture
def refused(run):
    """Asserts that the command refuses in one line; returns the line."""

    def ran(content, *words, **named):
        code, output, said = run(content, *words, **named)
        assert code == 2, said
        assert said.startswith("ageflax.import_weights: ") and said.count("\n") == 1, said
        assert not output.exists()
        return said

    return ran


@pytest.fixture(scope="session")
def small_levi():
    """A narrow network of Levi and Hassner, V1, with eight outputs."""
    layers = caffe_nets.levi()
    return caffe_nets.caffemodel(layers, caffe_nets.drawn(layers), version=1)
