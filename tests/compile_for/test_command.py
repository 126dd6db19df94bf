"""The command; with libtpu (the extra `tpu`) a small trunk is compiled by the TPU compiler."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jaxtyping
import pytest

from ageflax.compile_for import __main__ as command
from ageflax.compile_for import steps_of

QUICKSTART = str(Path(__file__).parents[2] / "configs" / "quickstart.py")
SMALL = (
    f"--config={QUICKSTART}",
    "--config.model.dtype=bfloat16",
    "--config.model.width=0.1",
)


@pytest.fixture
def untyped(loose_promotion: None) -> Iterator[None]:
    """Structs hold shapes here, not arrays."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def lines(capsys: Any) -> list[str]:
    return capsys.readouterr().err.strip().splitlines()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--topology=v9:2x2", *SMALL], "unknown chip 'v9'"),
        (["--topology=", *SMALL], "unknown chip ''"),
        (["--topology=v5e:2x4,", *SMALL], "unknown chip ''"),
        (["--topology=cuda:8", *SMALL], "unknown chip 'cuda'"),
        (
            ["--topology=v5e:2x4", *SMALL, "--steps=training"],
            "expected steps of train, resident, evaluate",
        ),
        (["--topology=v5e:2x4", *SMALL, "--steps="], "--steps=: expected steps of"),
        (
            ["--topology=v5e:2x4", *SMALL, "--output=/no/such/x.json"],
            "no folder /no/such; create it first",
        ),
        (["--topology=v5e:2x4", "--config=configs/none.py"], "no such file"),
        (["--topology=v5e:2x4", *SMALL, "--config.model.widht=1"], "model.width"),
        (["--topology=v5e:2x4", *SMALL, "--largets"], "unknown argument"),
    ],
)
def test_bad_input_is_one_line(words: list[str], said: str, capsys: Any) -> None:
    assert command.main(words) == 2
    (line,) = lines(capsys)
    assert line.startswith("ageflax.compile_for: ")
    assert said in line


@pytest.mark.parametrize("word", ["0", "-1", "1.5", "many", "", "9" * 30, "٣"])
def test_what_is_no_count_is_refused(word: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as ending:
        command.main(["--topology=cuda", *SMALL, f"--per_chip={word}"])
    assert ending.value.code == 2
    assert "expected a number of faces" in capsys.readouterr().err


def test_without_the_tpu_compiler_it_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert command.main(["--topology=v5e:2x4", *SMALL]) == 2
    assert "--extra tpu" in lines(capsys)[-1]


def test_steps_are_lowered_for_gpus_and_the_products_are_in_bfloat16(
    untyped: None, tmp_path: Path, capsys: Any
) -> None:
    output = tmp_path / "cuda.json"
    words = ["--topology=cuda", *SMALL, "--per_chip=4", f"--output={output}"]
    assert command.main([*words, "--steps=train,resident,evaluate", "--faces=9"]) == 0
    rows = json.loads(output.read_text())
    assert [row["step"] for row in rows] == ["train", "resident", "evaluate"]
    # Three convolutions, two layers and two heads; backward twice as many, less the images' own derivative.
    assert [row["products"] for row in rows] == [
        {"bf16 x bf16": 20}, {"bf16 x bf16": 20}, {"bf16 x bf16": 7}
    ]  # fmt: skip
    assert len(lines(capsys)) == 3


def test_a_product_that_stays_in_float32_fails_the_command(
    untyped: None, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    lower = steps_of.StepCompiler.lower

    def leaking(*arguments: Any, **more: Any) -> str:
        text = lower(*arguments, **more)
        one = text.index("stablehlo.dot_general")
        return text[:one] + text[one:].replace("xbf16>", "xf32>", 2)

    monkeypatch.setattr(steps_of.StepCompiler, "lower", leaking)
    words = ["--topology=cuda", *SMALL, "--per_chip=4", "--steps=evaluate"]
    assert command.main(words) == 1
    assert "cuda evaluate: 1 convolutions or matrix products of f32 x f32" in lines(capsys)[-1]


@pytest.mark.skipif(not importlib.util.find_spec("libtpu"), reason="needs the extra tpu")
class TestOnTpus:
    def test_a_batch_that_does_not_divide_is_refused(self, untyped: None, capsys: Any) -> None:
        words = ["--topology=v5e:2x4", *SMALL, "--config.data.batch_size=12"]
        assert command.main(words) == 2
        assert "8 or 16 would" in lines(capsys)[-1]

    def test_a_small_trunk_compiles_and_is_sound(
        self, untyped: None, tmp_path: Path, capsys: Any
    ) -> None:
        output = tmp_path / "slice.json"
        words = ["--topology=v5e:2x4", *SMALL, "--per_chip=4", f"--output={output}"]
        assert command.main([*words, "--steps=train"]) == 0, lines(capsys)
        (row,) = json.loads(output.read_text())
        assert row["products"] == {"bf16 x bf16": 20}
        assert {collective["kind"] for collective in row["collectives"]} == {"all-reduce"}
        moved = sum(collective["bytes"] for collective in row["collectives"])
        assert row["parameter_bytes"] / 2 <= moved <= row["parameter_bytes"] + 1000
        assert 0 < row["memory"] < 16e9
        assert [b["chips"] for b in row["scaling"]] == [1, 4, 8, 16, 32, 64, 128, 256]
