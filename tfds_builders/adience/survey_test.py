import io
import threading
from pathlib import Path

import pytest
from PIL import Image

from ageflax.data import images
from ageflax.errors import InputError
from tfds_builders import common
from tfds_builders.adience import survey
from tfds_builders.adience.fold_files import Face

FACE = Face(0, 2, "7@N00", "a.jpg", "12", "(25, 32)", "female")
LISTING = Path("unreadable.csv")


def face(number: int) -> Face:
    return Face(number % 5, number, "7@N00", f"{number}.jpg", "12", "35", "male")


def warning(result: survey.Survey) -> str:
    return common.warning(
        result.counts, len(result.usable), noun="images", note="mind this", listing=LISTING
    )


def surveyed(usable: int, rejected: list[tuple[Face, str]]) -> survey.Survey:
    return survey.Survey([FACE] * usable, [1] * usable, rejected)


class Drawer:
    """Images in memory; every seventh is absent. Remembers the threads that read."""

    def __init__(self):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8)).save(buffer, "JPEG")
        self.content = buffer.getvalue()
        self.threads: set[int] = set()

    def read(self, face: Face) -> bytes:
        self.threads.add(threading.get_ident())
        if face.line % 7 == 0:
            raise images.BadImageError("absent")
        return self.content


def test_every_image_is_looked_at_once_and_order_is_kept():
    faces = [face(number) for number in range(1, 701)]  # more than one batch
    drawer = Drawer()
    result = survey.survey(faces, drawer.read)
    assert result.usable == [face for face in faces if face.line % 7]
    assert result.sizes == [len(drawer.content)] * 600
    assert result.rejected == [(face, "absent") for face in faces if face.line % 7 == 0]
    assert result.counts == {"absent": 100}
    assert threading.get_ident() not in drawer.threads


def test_reasons_are_counted_in_their_order():
    result = surveyed(0, [(FACE, "truncated"), (FACE, "absent"), (FACE, "truncated")])
    assert list(result.counts.items()) == [("absent", 1), ("truncated", 2)]


@pytest.mark.parametrize("bad", [0, 1, 100])
def test_silence_up_to_one_per_cent(bad: int):
    result = surveyed(10_000 - bad, [(FACE, "empty")] * bad)
    assert warning(result) == ""


def test_a_loud_warning_above_one_per_cent():
    result = surveyed(9_899, [(FACE, "empty")] * 100 + [(FACE, "absent")])
    assert warning(result).splitlines() == [
        "WARNING: 101 of 10,000 images (1.0%) cannot be used and are left out:",
        "WARNING: 1 absent, 100 empty.",
        "WARNING: mind this; each is listed in unreadable.csv",
    ]


def test_the_listing(tmp_path: Path):
    odd = Face(3, 9, "7@N00", 'a,"b".jpg', "12", "(25, 32)", "")
    path = tmp_path / "unreadable.csv"
    survey.write_listing(path, [(odd, "empty")], config="faces")
    assert path.read_text() == (
        "path,fold,reason,subject,age_label,gender\n"
        '"faces/7@N00/coarse_tilt_aligned_face.12.a,""b"".jpg",3,empty,12,"(25, 32)",\n'
    )


def test_five_folds_with_an_image_each_are_enough(tmp_path: Path):
    result = survey.Survey([face(number) for number in range(5)], [1] * 5, [(FACE, "empty")] * 99)
    survey.require_images(result, manual_dir=tmp_path, config="aligned")
    with pytest.raises(InputError, match="none of the images of fold 4 can be used"):
        survey.require_images(
            survey.Survey(result.usable[:4], [1] * 4, result.rejected),
            manual_dir=tmp_path,
            config="aligned",
        )
