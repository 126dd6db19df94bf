"""Keys of this project by the names that they have elsewhere."""

from collections.abc import Iterable

from ageflax.config.key import nearest

_ELSEWHERE = {
    "batch_size": "data.batch_size",
    "train_batch_size": "data.batch_size",
    "bs": "data.batch_size",
    "dataset": "data.name",
    "data_dir": "data.dir",
    "data_path": "data.dir",
    "image_size": "data.crop",
    "img_size": "data.crop",
    "input_size": "data.crop",
    "crop_size": "data.crop",
    "flip": "data.mirror",
    "num_workers": "data.workers",
    "val_fraction": "data.validation_fraction",
    "val_split": "data.validation_fraction",
    "arch": "model.name",
    "architecture": "model.name",
    "backbone": "model.name",
    "trunk": "model.name",
    "model_name": "model.name",
    "precision": "model.dtype",
    "init_from": "transfer.weights",
    "pretrained": "transfer.weights",
    "freeze": "transfer.frozen",
    "optimizer": "optim.name",
    "lr": "optim.learning_rate",
    "base_lr": "optim.learning_rate",
    "wd": "optim.weight_decay",
    "scheduler": "optim.schedule",
    "lr_schedule": "optim.schedule",
    "lr_scheduler": "optim.schedule",
    "warmup": "optim.warmup_steps",
    "grad_clip": "optim.clip_norm",
    "max_grad_norm": "optim.clip_norm",
    "ema_decay": "optim.ema",
    "grad_accum": "optim.accumulate",
    "smoothing": "loss.label_smoothing",
    "early_stopping": "eval.patience",
    "eval_every": "eval.every",
    "tta": "eval.crops",
    "epoch": "epochs",
    "num_epochs": "epochs",
    "n_epochs": "epochs",
    "max_epochs": "epochs",
    "train_epochs": "epochs",
    "num_steps": "steps",
    "max_steps": "steps",
    "train_steps": "steps",
    "num_train_steps": "steps",
    "iterations": "steps",
    "max_iter": "steps",
    "random_seed": "seed",
    "rng_seed": "seed",
    "test_fold": "fold",
}


def meant(name: str, keys: Iterable[str]) -> str | None:
    """Key that an unknown name means: the same leaf in a single group, or a usual name of it.

    Args:
      name: unknown name, perhaps dotted.
      keys: known keys.
    """
    leaf = name.rpartition(".")[2].lower().replace("-", "_")
    found = [key for key in keys if key.rpartition(".")[2] == leaf]
    return found[0] if len(found) == 1 else _ELSEWHERE.get(leaf)


def hint(name: str, keys: Iterable[str]) -> str:
    """End of an error message about an unknown key: the key meant, else the most similar."""
    key = meant(name, keys)
    return f"; did you mean {key!r}?" if key else nearest(name, keys)
