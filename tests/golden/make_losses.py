"""Makes losses.npz: PyTorch's objectives, or ones written in PyTorch from their papers.

    python -m tests.golden.make_losses          # from the repository's root

needs torch and numpy, and imports nothing of ageflax. The committed file was made with torch 2.14.1
(CPU), numpy 2.4.6 and Python 3.11. Everything is computed in float64 from float32 scores.

Contents, for each NAME in (groups, years): NAME/scores and NAME/labels; per OBJECTIVE NAME/OBJECTIVE
(loss of each face) and NAME/OBJECTIVE/gradient (of the sum over faces, by autograd; for years only the
first three faces). Then
  NAME/weights, NAME/cross_entropy_weighted: weighted mean of torch.nn.CrossEntropyLoss(weight=...).
  NAME/corn_batch: the authors' published form, one sum per threshold over the faces that have it,
    divided by the number of terms as in the paper.
  estimate/...: objectives with two scores per face; the position is ten times the first.
"""

# pyright: reportMissingImports=false

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812

OUTPUT = Path(__file__).with_name("losses.npz")
SIGMA, SMOOTHING, DELTA = 2.5, 0.1, 3.0

Tensor = Any
Loss = Callable[[Tensor, Tensor], Tensor]


def _label_distribution(scores: Tensor, labels: Tensor) -> Tensor:
    years = torch.arange(scores.shape[1], dtype=torch.float64)
    density = torch.distributions.Normal(labels[:, None], SIGMA).log_prob(years).exp()
    target = density / density.sum(1, keepdim=True)
    return F.kl_div(F.log_softmax(scores, 1), target, reduction="none").sum(1)


def _mean_variance(scores: Tensor, labels: Tensor) -> Tensor:
    years = torch.arange(scores.shape[1], dtype=torch.float64)
    p = F.softmax(scores, 1)
    mean = (p * years).sum(1)
    variance = (p * (years - mean[:, None]) ** 2).sum(1)
    softmax = F.cross_entropy(scores, labels.long(), reduction="none")
    return softmax + 0.2 * 0.5 * (mean - labels) ** 2 + 0.05 * variance


def _levels(labels: Tensor, thresholds: int) -> Tensor:
    return (labels[:, None] > torch.arange(thresholds)).double()


def _coral(scores: Tensor, labels: Tensor) -> Tensor:
    logits = scores[:, :-1]
    levels = _levels(labels, logits.shape[1])
    terms = F.logsigmoid(logits) * levels + (F.logsigmoid(logits) - logits) * (1 - levels)
    return -terms.sum(1)


def _corn(scores: Tensor, labels: Tensor) -> Tensor:
    """-log probability of the class, from a product of conditional probabilities."""
    beyond = torch.sigmoid(scores[:, :-1])
    reached = torch.cumprod(torch.cat([torch.ones_like(beyond[:, :1]), beyond], 1), 1)
    p = reached * torch.cat([1 - beyond, torch.ones_like(beyond[:, :1])], 1)
    return -p.gather(1, labels.long()[:, None])[:, 0].log()


def _corn_batch(scores: Tensor, labels: Tensor) -> Tensor:
    total, terms = torch.zeros((), dtype=torch.float64), 0
    for k in range(scores.shape[1] - 1):
        asked = labels > k - 1
        answers = (labels[asked] > k).double()
        total = total + F.binary_cross_entropy_with_logits(
            scores[asked, k], answers, reduction="sum"
        )
        terms += len(answers)
    return total / terms


OBJECTIVES: dict[str, Loss] = {
    "cross_entropy": lambda s, y: F.cross_entropy(s, y.long(), reduction="none"),
    "smoothed": lambda s, y: F.cross_entropy(
        s, y.long(), reduction="none", label_smoothing=SMOOTHING
    ),
    "label_distribution": _label_distribution,
    "mean_variance": _mean_variance,
    "coral": _coral,
    "corn": _corn,
}


def _gaussian(scores: Tensor, labels: Tensor) -> Tensor:
    loss = torch.nn.GaussianNLLLoss(full=True, reduction="none")
    return loss(scores[:, 0] * 10, labels, 100 * scores[:, 1].exp())


ESTIMATES: dict[str, Loss] = {
    "absolute": lambda s, y: F.l1_loss(s[:, 0] * 10, y, reduction="none"),
    "huber": lambda s, y: torch.nn.HuberLoss("none", DELTA)(s[:, 0] * 10, y),
    "smooth_l1": lambda s, y: torch.nn.SmoothL1Loss(reduction="none")(s[:, 0] * 10, y),
    "gaussian": _gaussian,
}


def _record(
    record: dict[str, np.ndarray], name: str, loss: Loss, scores: np.ndarray, labels: np.ndarray
) -> None:
    x = torch.tensor(scores, dtype=torch.float64, requires_grad=True)
    values = loss(x, torch.tensor(labels, dtype=torch.float64))
    values.sum().backward()
    record[name] = values.detach().numpy()
    record[f"{name}/gradient"] = x.grad.numpy()[: 3 if scores.shape[1] > 8 else None]


def main() -> None:
    """Writes losses.npz beside this file."""
    generator = np.random.default_rng(4)
    record: dict[str, np.ndarray] = {}
    for task, classes in (("groups", 8), ("years", 101)):
        scores = generator.normal(0, 3, (12, classes)).astype(np.float32)
        labels = generator.integers(0, classes, 12)
        labels[:2] = 0, classes - 1
        weights = generator.uniform(0.2, 3, classes).astype(np.float32)
        record |= {f"{task}/scores": scores, f"{task}/labels": labels, f"{task}/weights": weights}
        for name, loss in OBJECTIVES.items():
            _record(record, f"{task}/{name}", loss, scores, labels)
        x, y = torch.tensor(scores, dtype=torch.float64), torch.tensor(labels)
        mean = torch.nn.CrossEntropyLoss(weight=torch.tensor(weights, dtype=torch.float64))(x, y)
        record[f"{task}/cross_entropy_weighted"] = mean.numpy()
        record[f"{task}/corn_batch"] = _corn_batch(x, y).numpy()
    scores = generator.normal((3.5, 0.5), (2, 0.7), (12, 2)).astype(np.float32)
    # Errors of all sizes, and an age beyond the last class.
    labels = (scores[:, 0] * 10 + generator.normal(0, 1, 12) * 2.0 ** np.arange(-5, 7)).astype("f4")
    labels = np.append(np.abs(labels[:-1]), np.float32(104.5))
    record |= {"estimate/scores": scores, "estimate/labels": labels}
    for name, loss in ESTIMATES.items():
        _record(record, f"estimate/{name}", loss, scores, labels)
    arrays: dict[str, Any] = dict(record)
    np.savez_compressed(OUTPUT, **arrays)
    print(
        f"{OUTPUT.name}: {OUTPUT.stat().st_size} bytes; torch {torch.__version__}, numpy {np.__version__}"
    )


if __name__ == "__main__":
    main()
