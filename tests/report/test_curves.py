import pytest

from tests.report.small_runs import age, finish, page, write_fold


@pytest.mark.parametrize(
    ("log", "panels"),
    [
        ("", 0),
        ('{"step": 2, "loss": 1.5}\n', 1),
        ('{"step": 2, "loss": 1.5, "validation_age_exact": 0.5}\n{"step": 4, "lo', 2),
        ('{"step": 2, "loss": NaN}\n', 0),
        ("".join(f'{{"step": {k}, "loss": 1.5}}\n' for k in range(1000)), 1),
    ],
)
def test_curves_of_any_log(tmp_path, log, panels):
    write_fold(tmp_path, 0, {"age": [0, 1]}, age(0, 3), log=log)
    finish(tmp_path)
    assert len(page(tmp_path).drawings) == panels


def test_a_run_without_validation_says_so(tmp_path):
    log = '{"step": 2, "loss": 1.5}\n'
    write_fold(tmp_path, 0, {"age": [0, 1]}, age(0, 3), log=log, validation=0)
    write_fold(tmp_path, 1, {"age": [0, 1]}, age(0, 3), log=log, validation=0)
    finish(tmp_path)
    assert "No faces were held out for validation" in page(tmp_path).text
