"""Workflows over ageflax's commands: from archives to a comparison of runs, resumable at any moment.

python -m pipelines.prepare --configs=levi --config.data.manual_dir=FOLDER --workdir=runs/adience
python -m pipelines.cross_validate --configs=quickstart --workdir=runs/cv --jobs=1
python -m pipelines.compare --configs=levi,resnet34 --workdir=runs/compared
"""

import sys


def python(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs a module with this Python."""
    return sys.executable, "-m", module, *arguments
