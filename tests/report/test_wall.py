import base64
import io

from PIL import Image

from tests.report.small_runs import finish, gender, jpeg, page, write_fold


def test_worst_faces_come_first_and_right_ones_not_at_all(tmp_path):
    write_fold(tmp_path, 0, {"gender": [0, 0, 0, 1]}, gender(0.9, 0.3, 0.00001, 0.97))
    write_fold(tmp_path, 1, {"gender": [0, None]}, gender(0.12, 0.0))
    finish(tmp_path)
    shown = page(tmp_path)
    assert shown.texts["span.key"] == ["fold 0, 0_2", "fold 0, 0_3", "fold 1, 1_0", "fold 0, 0_1"]
    assert "<b>female</b> &lt; 0.01 %" in shown.text


def test_the_wall_ends_at_24_faces(tmp_path):
    count = 30
    wrong = gender(*(k / 100 for k in range(count)))
    write_fold(tmp_path, 0, {"gender": [0] * count}, wrong)
    finish(tmp_path)
    assert page(tmp_path).texts["span.key"][-1] == "fold 0, 0_23"


def test_thumbnails_are_small_and_only_of_the_faces_shown(tmp_path):
    write_fold(tmp_path, 0, {"gender": [0, 0, 0, 0]}, gender(0.1, 0.9, 0.2, 0.3))
    finish(tmp_path)
    asked: list[str] = []

    def thumbnails(keys):
        asked.extend(keys)
        return {"0_0": jpeg((200, 10, 10), (300, 150)), "0_2": b"no image"}

    shown = page(tmp_path, thumbnails=thumbnails)
    assert asked == ["0_0", "0_2", "0_3"]
    (address,) = shown.images
    head, _, body = address.partition(",")
    assert head == "data:image/jpeg;base64"
    image = Image.open(io.BytesIO(base64.b64decode(body)))
    assert (image.format, image.size) == ("JPEG", (96, 48))
    assert "the same terms apply to it" in shown.text
    assert "the same terms apply to it" not in page(tmp_path).text
