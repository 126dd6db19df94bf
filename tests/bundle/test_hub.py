"""hf://owner/name as a model: downloaded once, pinned to a commit; failures are one line."""

import shutil

import pytest

from ageflax.errors import InputError
from ageflax.weights import hub as hub_names
from tests.support import small_bundle
from tests.support.hub_server import Hub, run, serving

FIRST, SECOND = "1" * 40, "2" * 40
NAME = "someone/faces"

# One process loads many names, as importing JAX takes seconds.
LOAD = """
import contextlib, io, json, sys
import numpy as np
from ageflax.bundle import loading
from ageflax.errors import InputError
from ageflax import evaluate as command
for name in sys.argv[2:]:
    try:
        opened = loading.open_model(name)
        member = opened.members[0]
        faces = np.zeros((1, 32, 32, 3), np.uint8)
        print(json.dumps([
            opened.description.data["name"],
            opened.described(),
            sorted(path.name for path in member.path.iterdir()),
            float(opened(faces)["gender"].sum()),
        ]))
    except InputError as error:
        print(json.dumps(str(error)))
printed = io.StringIO()
with contextlib.redirect_stderr(printed):
    code = command.main([f"--model={sys.argv[1]}"])
print(json.dumps([code, printed.getvalue()]))
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A hub with two commits of a bundle, and faulty repositories."""
    folder = tmp_path_factory.mktemp("published")
    hub = Hub(gated=("someone/gated",))
    for name, commit, revisions in (
        ("old", FIRST, ("v1",)),
        ("new", SECOND, ("main", "branch/of-mine")),
    ):
        written = small_bundle.write(folder / name, data={"name": name, "licence": "MIT"})
        (written / "training_data.tar").write_bytes(b"not to be downloaded")
        hub.add(NAME, written, commit=commit, revisions=revisions)
    plain = folder / "plain"
    plain.mkdir()
    (plain / "pytorch_model.bin").write_bytes(b"weights of something else")
    hub.add("someone/plain", plain, commit=FIRST, revisions=("main",))
    for name in ("cardless", "huge", "damaged"):
        copy = shutil.copytree(folder / "new", folder / name)
        if name == "cardless":
            (copy / "README.md").unlink()
        if name == "huge":
            with (copy / "model.safetensors").open("r+b") as file:
                file.truncate(20_000_000)
        if name == "damaged":
            (copy / "config.json").write_text("<html>")
        hub.add(f"someone/{name}", copy, commit=FIRST, revisions=("main",))
    with serving(hub):
        yield hub


def described(name, *, revision, commit):
    return {"repository": name, "revision": revision, "commit": commit}


REVISIONS = ("", "@v1", "@branch/of-mine", f"@{FIRST}")
ADVICE = {
    "hf://someone/absent": "no such repository on the hub, or a private one: check the name, or log in"
    " (hf auth login, or the variable HF_TOKEN)",
    "hf://someone/gated": "gated: accept its terms on https://huggingface.co/someone/gated, and log in"
    " (hf auth login, or the variable HF_TOKEN)",
    f"hf://{NAME}@v9": "it has no branch, tag or commit 'v9'",
    "hf://someone/plain": "not a bundle: it has no config.json",
}


@pytest.fixture(scope="module")
def online(hub, tmp_path_factory):
    """The library's cache; results by name; exit code and message of the command without a bundle."""
    home = tmp_path_factory.mktemp("cache")
    names = [f"hf://{NAME}{revision}" for revision in REVISIONS]
    names += [*ADVICE, "hf://someone/huge", "hf://someone/damaged", "hf://someone/cardless"]
    *found, command = run(LOAD, "hf://someone/plain", *names, home=home, HF_ENDPOINT=hub.address)
    return home, dict(zip(names, found, strict=True)), command


def test_a_name_is_loaded_at_the_commit_of_its_revision(online):
    for revision, commit, data in zip(
        REVISIONS, (SECOND, FIRST, SECOND, FIRST), ("new", "old", "new", "old"), strict=True
    ):
        name, opened, files, total = online[1][f"hf://{NAME}{revision}"]
        assert name == data
        (member,) = opened["members"]
        asked = revision.removeprefix("@") or None
        assert member["hub"] == {"repository": NAME, "revision": asked, "commit": commit}
        assert opened["path"] == f"hf://{NAME}{revision}"
        assert files == ["README.md", "config.json", "model.safetensors"]
        assert total == pytest.approx(1.0, abs=1e-5)


def test_each_file_is_downloaded_once_and_no_other(hub, online):
    fetched = [path for method, path in hub.asked if method == "GET" and f"/{NAME}/" in path]
    # Three files in each of two commits; the cache shares the weights, which are the same.
    assert len(fetched) == len(set(fetched)) == 5
    assert not any("training_data.tar" in path for _, path in hub.asked)
    # A commit never changes, so the hub is not asked about one in the cache.
    assert ("HEAD", f"/{NAME}/resolve/{FIRST}/config.json") not in hub.asked


def test_what_cannot_be_had_is_one_line_that_says_what_to_do(hub, online):
    found = online[1]
    for name, advice in ADVICE.items():
        assert found[name] == f"{name}: {advice}"
    assert (
        f"hf://someone/huge@{FIRST}: model.safetensors has 20000000 bytes, more than the"
        in found["hf://someone/huge"]
    )
    huge = f"/someone/huge/resolve/{FIRST}/model.safetensors"
    assert ("HEAD", huge) in hub.asked
    assert ("GET", huge) not in hub.asked
    assert "config.json: not readable JSON" in found["hf://someone/damaged"]
    assert found["hf://someone/cardless"][2] == ["config.json", "model.safetensors"]


def test_the_commands_take_the_name_as_it_is(online):
    code, printed = online[2]
    assert code == 2
    assert printed == "ageflax.evaluate: hf://someone/plain: not a bundle: it has no config.json\n"


def test_what_was_loaded_once_is_there_without_a_network(online):
    home, before, _ = online
    names = [f"hf://{NAME}{revision}" for revision in REVISIONS]
    *found, absent, (code, _) = run(
        LOAD, "hf://no/net", *names, "hf://someone/other", home=home, HF_HUB_OFFLINE="1"
    )
    assert found == [before[name] for name in names]
    assert code == 2
    assert absent.startswith(
        "hf://someone/other: not in the hub's cache, and the hub cannot be reached"
    )
    assert absent.endswith(
        "; download it elsewhere (hf download someone/other --local-dir DIR) and name the folder"
    )
    assert "\n" not in absent


@pytest.mark.parametrize(
    ("text", "name", "revision"),
    [
        ("hf://a/b", "a/b", ""),
        ("hf:/a/b", "a/b", ""),  # as a Path prints it
        ("hf://a-1/B_2.3@main", "a-1/B_2.3", "main"),
        ("hf://a/b@refs/pr/1", "a/b", "refs/pr/1"),
    ],
)
def test_names_of_the_hub(text, name, revision):
    assert hub_names.is_name(text)
    assert hub_names.repository(text) == hub_names.Repository(name, revision)


@pytest.mark.parametrize(
    "text",
    [
        "hf://", "hf://a", "hf://a/", "hf:///b", "hf://a/b/c", "hf://a/b@", "hf://a b/c", "hf://../etc",
        "hf://a/..", "hf://a/b@../x", "hf://a/b@x y", "hf://a/b@-x", "hf://a/b@@x", "hf://a/b\n",
        "hf://a/b@x\n", "hf://ä/b", "hf://" + "a" * 200 + "/b", "hf://a/b@" + "c" * 10_000, "hf://-a/b",
    ],
)  # fmt: skip
def test_what_is_no_name_of_the_hub(text):
    with pytest.raises(
        InputError, match="not a name on the hub; expected hf://OWNER/NAME"
    ) as caught:
        hub_names.repository(text)
    assert len(str(caught.value)) < 300
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("path", ["runs/levi", "./hf/x", "/hf:/a/b", "a/hf:/b"])
def test_paths_are_no_names_of_the_hub(path):
    assert not hub_names.is_name(path)


PUSH = """
import json, os, sys
import numpy as np
from ageflax import bundle
from ageflax.errors import InputError
def line(call, *words, **named):
    try:
        print(json.dumps(call(*words, **named)))
    except InputError as error:
        print(json.dumps(str(error)))
folder, faces = sys.argv[1], np.zeros((1, 32, 32, 3), np.uint8)
model = bundle.from_pretrained(folder)
line(model.push_to_hub, "someone/pushed")
os.environ["HF_TOKEN"] = "hf_of_a_test"
line(model.push_to_hub, "someone/pushed", private=True)
line(model.push_to_hub, "pushed")
again = bundle.from_pretrained("someone/pushed", revision="main")
print(json.dumps([again.name, bool((again(faces)["gender"] == model(faces)["gender"]).all())]))
line(bundle.from_pretrained, folder, revision="v1")
line(bundle.ensemble([folder, folder]).push_to_hub, "someone/pushed")
"""


def test_a_bundle_is_pushed_with_its_card_and_terms_and_loaded_again(hub, tmp_path):
    written = small_bundle.write(tmp_path / "bundle", data={"name": "mine", "licence": "MIT"})
    (written / "LICENSE").write_text("terms")
    (written / "notes.txt").write_text("not to be uploaded")
    found = run(PUSH, str(written), home=tmp_path / "home", HF_ENDPOINT=hub.address)
    refused, url, unnamed, loaded, here, several = found
    assert refused.startswith("hf://someone/pushed: the hub does not take it (")
    assert refused.endswith(
        "; to log in: hf auth login, or the variable HF_TOKEN with a token that may write"
    )
    commit = hub.revisions["someone/pushed", "main"]
    assert url == f"{hub.address}/someone/pushed/commit/{commit}"
    pushed = {name: content for (_, at, name), content in hub.files.items() if at == commit}
    assert set(pushed) == {"config.json", "model.safetensors", "README.md", "LICENSE"}
    assert all(content == (written / name).read_bytes() for name, content in pushed.items())
    assert hub.private == {"someone/pushed": True}
    assert unnamed.startswith("'hf://pushed': not a name on the hub; expected hf://OWNER/NAME")
    assert loaded == ["hf://someone/pushed@main", True]
    assert here == f"revision = 'v1': {written} is not a name on the hub; leave it out"
    assert several.endswith("not a single bundle; push one of `runs/NAME/fold_K`")
