"""The script of the README that writes a labels.csv."""

import re
import subprocess
import sys
from pathlib import Path

from tfds_builders.labeled_faces import labels_file, rows

HERE = Path(__file__).parent
NAMES = {
    "26_0_2_20170104023102422.jpg.chip.jpg": (26.0, 1),
    "30_1_2_20170104023102422.jpg.chip.jpg": (30.0, 0),
    "53__0_20170116184028385.jpg": (53.0, -1),
    "39_1_20170116174525125.jpg.chip.jpg": (39.0, -1),
}


def test_utkface(tmp_path: Path):
    scripts = re.findall(r"```python\n(.*?)```", (HERE / "README.md").read_text(), re.DOTALL)
    (script,) = (script for script in scripts if "UTKFace" in script)
    (tmp_path / "UTKFace").mkdir()
    for name in NAMES:
        (tmp_path / "UTKFace" / name).touch()
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    faces, rejected = rows.parse_all(labels_file.read(tmp_path / "UTKFace" / "labels.csv").lines)
    assert rejected == []
    assert {face.path: (face.age, face.gender) for face in faces} == NAMES
