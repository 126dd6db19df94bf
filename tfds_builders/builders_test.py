"""Each builder as the tfds command loads it, and the texts in its folder."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from tensorflow_datasets.core import dataset_metadata

HERE = Path(__file__).parent
STARTS = {
    "adience": "# Adience",
    "imdb_wiki": "# IMDB-WIKI",
    "labeled_faces": "# Labeled faces",
    "synthetic_faces": "Drawn portraits",
}


@pytest.mark.parametrize("name", STARTS)
def test_tags_are_valid_and_texts_are_found(name: str):
    module = importlib.import_module(f"tfds_builders.{name}.{name}_dataset_builder")
    texts = module.Builder.get_metadata()
    assert texts.tags
    assert set(texts.tags) <= set(dataset_metadata.valid_tags())
    assert texts.description.startswith(STARTS[name])
    assert texts.citation is not None


@pytest.mark.parametrize("name", STARTS)
def test_it_imports_as_tfds_imports_it_without_jax_and_tensorflow(name: str):
    # In a process of its own, since TFDS registers a dataset's name once.
    program = (
        "import importlib, sys; sys.path[:0] = sys.argv[2:]; name = sys.argv[1]; "
        "module = importlib.import_module(f'{name}.{name}_dataset_builder'); "
        "assert module.Builder.name == name; "
        "heavy = ('jax', 'flax', 'tensorflow', 'apache_beam'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    command = [sys.executable, "-c", program, name, str(HERE), str(HERE.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
