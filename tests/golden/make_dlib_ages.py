"""Makes dlib_ages.npz: probabilities of dlib's age predictor and gender classifier, of drawn weights.

    python -m tests.golden.make_dlib_ages --dlib=dlib-20.0.1     # from the repository's root

needs the source of dlib, a C++ compiler and numpy, and imports nothing of ageflax. The committed file was
made with dlib 20.0.1 (CPU, without BLAS), g++ 12.2, numpy 2.4.6 and Python 3.11.

Contents, for the networks and images of dlib_ages_networks.py: age, float32[3, 81], and gender,
float32[3, 2]. The files of all styles are answered alike, to 1e-5.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from tests.golden import dlib_ages_networks as networks

OUTPUT = Path(__file__).with_name("dlib_ages.npz")
STYLES = ("old", "new", "trained")


def _compiled(source: Path, program: Path) -> None:
    words = ["g++", "-std=c++14", "-O1", "-DDLIB_NO_GUI_SUPPORT", f"-I{source}"]
    files = [str(OUTPUT.with_suffix(".cpp")), str(source / "dlib" / "all" / "source.cpp")]
    subprocess.run([*words, *files, "-o", str(program), "-lpthread"], check=True)


def _answers(program: Path, task: str, style: str) -> np.ndarray:
    images = networks.images(task)
    path = program.with_name("drawn.dat")
    path.write_bytes(networks.content(task, style=style))
    words = [str(program), task, str(path), str(len(images))]
    ran = subprocess.run(words, input=images.tobytes(), capture_output=True, check=True)
    return np.array(ran.stdout.split(), np.float32).reshape(len(images), -1)


def main() -> None:
    """Writes the golden file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dlib", type=Path, required=True, help="folder of dlib's source")
    source = parser.parse_args().dlib
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "dlib_ages"
        _compiled(source, program)
        found = {
            task: [_answers(program, task, style) for style in STYLES] for task in networks.SIDES
        }
    for task, (first, *others) in found.items():
        for other in others:
            np.testing.assert_allclose(other, first, atol=1e-5)
        print(task, first.shape, first.max(1), first.std(0).max())
    np.savez_compressed(
        OUTPUT, allow_pickle=False, **{task: first for task, (first, *_) in found.items()}
    )


if __name__ == "__main__":
    main()
