"""The command: its output, its files, its exit codes."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from ageflax import wash
from ageflax.data.washing import near_duplicates
from tfds_builders.labeled_faces.dummy_build import build, draw, encode, lay_out


@pytest.fixture(scope="module")
def leaky(tmp_path_factory):
    """A dataset with one picture in two folds, under two names."""
    rows = [
        "path,age,subject,fold",
        *(f"{name}.png,30,{name},{k}" for k, name in enumerate("abcde")),
    ]
    folder = lay_out(tmp_path_factory.mktemp("leaky") / "manual", [*rows, "again.bmp,31,Eve,4"])
    (folder / "again.bmp").write_bytes(encode(Image.fromarray(draw(0)), "BMP"))
    build(folder)
    return folder.parent / "built"


def test_its_output_and_files(leaky, tmp_path, capsys):
    arguments = ["--data.name=labeled_faces", f"--data.dir={leaky}", f"--output={tmp_path / 'a/b'}"]
    assert wash.main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [
        "labeled_faces/default/1.0.0: 6 faces",
        "useless images: none",
        "pictures that occur more than once: 1",
        "pairs across folds or subjects:",
        "  same file: 0 (0 across folds, 0 across subjects, 0 with different labels)",
        "  same pixels: 1 (1 across folds, 1 across subjects, 1 with different labels)",
        "  alike: 0 (0 across folds, 0 across subjects, 0 with different labels)",
    ]
    assert captured.err.splitlines()[-1] == f"lists: {tmp_path}/a/b"
    assert sorted(path.name for path in (tmp_path / "a/b").iterdir()) == [
        "pairs.csv",
        "rejected.csv",
        "wash_report.json",
    ]
    assert json.loads((tmp_path / "a/b/wash_report.json").read_text())["faces"] == 6


def test_without_an_output_nothing_is_written(leaky, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert wash.main(["--data.name=labeled_faces/default", f"--data.dir={leaky}"]) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data.name=labeled_faces"],
         "dataset labeled_faces/default is not built in {tmp}; training on it builds it"),
        (["--data.name=labeled_faces/nope"],
         "dataset labeled_faces/nope is not built in {tmp}; training on it builds it"),
        (["--data.name=adiense"], "data.name = 'adiense': no dataset 'adiense'; did you mean 'adience'?"),
        (["--data.name=adiense/x"],
         "data.name = 'adiense/x': no dataset 'adiense'; did you mean 'adience'?"),
        (["--data.name=adience", "--distance=16"],
         "--distance=16: expected a whole number from 0 to 15"),
        (["--data.name=adience", "--distance=-1"],
         "--distance=-1: expected a whole number from 0 to 15"),
        (["--data.name=adience", "--distance=few"],
         "--distance=few: expected a whole number from 0 to 15"),
        (["--data.name=adience", "--output={tmp}/file/x"],
         "--output={tmp}/file/x: cannot be written: Not a directory"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(arguments, message, tmp_path, capsys):
    (tmp_path / "file").touch()
    words = [word.format(tmp=tmp_path) for word in arguments]
    assert wash.main([*words, f"--data.dir={tmp_path}"]) == 2
    captured = capsys.readouterr()
    assert captured.err == f"ageflax.wash: {message.format(tmp=tmp_path)}\n"
    assert captured.out == ""


@pytest.mark.parametrize("arguments", [[], ["--data.nam=x"], ["--data.name=x", "--nope"]])
def test_a_misspelt_option_is_exit_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        wash.main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("ageflax.wash: ")


def test_help_imports_nothing_that_takes_time():
    code = (
        "import sys; sys.argv = ['x', '--help']\n"
        "from ageflax import wash\n"
        "try: wash.main()\n"
        "except SystemExit: pass\n"
        "assert not {'jax', 'numpy', 'tensorflow_datasets'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--data.name NAME" in done.stdout
    # Spelled out there, since importing them would take time.
    assert "0 to 15 (default: 4)" in done.stdout
    assert (near_duplicates.MAX_DISTANCE, near_duplicates.DISTANCE) == (15, 4)


def test_it_needs_no_jax(leaky):
    code = (
        "import sys; from ageflax import wash\n"
        f"assert wash.main(['--data.name=labeled_faces', '--data.dir={leaky}']) == 0\n"
        "assert not {'jax', 'tensorflow'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
