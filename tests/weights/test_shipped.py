"""The default model's name, and what is said where it is absent."""

import pytest

from ageflax.errors import InputError
from ageflax.weights import shipped


def test_its_name_is_its_folder_and_other_names_are_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    for name in ("config.json", "model.safetensors"):
        with pytest.raises(InputError) as caught:
            shipped.located("default")
        assert str(caught.value) == (
            f"default model: absent from this installation ({tmp_path} has no {name}); name another"
            " with --model=MODEL, or train one: see README.md"
        )
        (tmp_path / name).touch()
    assert shipped.located(shipped.NAME) == tmp_path
    for other in ("./default", "default/", "Default", "", "runs/default", tmp_path):
        assert shipped.located(other) is other
