import json
from pathlib import Path

from pipelines.cluster import pods
from pipelines.plan.runs import make


def test_a_request_travels_as_text_and_makes_the_same_plan(tmp_path):
    common, own = ["--config.seed=3"], ["b:model.width=0.1", "bad:data.crop=999"]
    made = make("a=quickstart,b=quickstart,bad=quickstart", common, own)
    text = pods.Request.of(made, common, own).to_text()
    again = make(*pods.Request.from_text(text).words(tmp_path / "configs"))
    assert [run.name for run in again.runs] == ["a", "b"]
    for first, second in zip(made.runs, again.runs, strict=True):
        assert first.config.to_dict() == second.config.to_dict()
        assert Path(second.file).parent == tmp_path / "configs"


def test_folds_trained_apart_are_put_together(tmp_path):
    for fold in (0, 1):
        folder = tmp_path / f"from_{fold}"
        (folder / f"fold_{fold}").mkdir(parents=True)
        (folder / f"fold_{fold}" / "result.json").write_text(f'{{"fold": {fold}}}')
        (folder / "config.json").write_text("{}")
    runs = {"a": tmp_path / "a-0123"}
    came = {("a", fold): tmp_path / f"from_{fold}" for fold in (0, 1)}
    pods.assemble(came, runs, {("a", 4): "out of memory"})
    assert sorted(p.relative_to(runs["a"]).as_posix() for p in runs["a"].rglob("*.json")) == [
        "config.json", "fold_0/result.json", "fold_1/result.json", "fold_4/failure.json",
    ]  # fmt: skip
    failure = json.loads((runs["a"] / "fold_4" / "failure.json").read_text())
    assert failure == {"error": "out of memory"}
