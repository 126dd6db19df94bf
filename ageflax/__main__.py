"""Every command under one name: `ageflax COMMAND ...`, or `python -m ageflax COMMAND ...`.

`ageflax train` is `python -m ageflax.main`, and so on; options and exit codes are the same.
"""

import runpy
import sys
from importlib.metadata import version

from ageflax.runtime import command_line

_COMMANDS = {
    "train": ("ageflax.main", "train and test the folds of a config"),
    "predict": ("ageflax.predict", "ages and genders in photographs and videos"),
    "demo": ("ageflax.demo", "the same as a web page (extra: demo)"),
    "evaluate": ("ageflax.evaluate", "test a model on a dataset or on photographs"),
    "compare": ("ageflax.compare", "compare finished runs on one page"),
    "export": ("ageflax.export", "write a model to ONNX (extra: onnx) or StableHLO"),
    "import_weights": ("ageflax.import_weights", "make a bundle of Caffe, PyTorch or ONNX weights"),
    "wash": ("ageflax.wash", "list the images that falsify a dataset's figures"),
    "framing": ("ageflax.predict.framing", "measure how a dataset frames its faces"),
    "compile_for": ("ageflax.compile_for", "compile the steps for a TPU without one (extra: tpu)"),
    "prepare": ("pipelines.prepare", "build the datasets of configs"),
    "cross_validate": ("pipelines.cross_validate", "the folds of several configs"),
    "compare_configs": ("pipelines.compare", "from archives to a page that compares configs"),
}


def _help() -> str:
    width = max(map(len, _COMMANDS))
    lines = [f"  {name:{width}}  {text}" for name, (_, text) in _COMMANDS.items()]
    return "\n".join(
        [
            "usage: ageflax COMMAND ...",
            "",
            *lines,
            "",
            "ageflax COMMAND --help lists a command's options; ageflax --version.",
        ]
    )


def main() -> None:
    """Entry point; runs the command as `python -m` would."""
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        sys.exit(0 if words else command_line.INPUT)
    if words[0] == "--version":
        print(f"ageflax {version('ageflax')}")
        return
    name = words[0].replace("-", "_")
    if name not in _COMMANDS:
        import difflib

        close = difflib.get_close_matches(name, _COMMANDS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "--help lists the commands"
        print(f"ageflax: {words[0]!r}: no such command; {hint}", file=sys.stderr)
        sys.exit(command_line.INPUT)
    module, _ = _COMMANDS[name]
    command_line.entered_as(f"ageflax {name}")
    sys.argv[1:] = words[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
