"""Teachers of a run: networks that look at each step's views and whose answers the student learns."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float

from ageflax import config as configuration
from ageflax.augment.views import eval_views
from ageflax.bundle import loading
from ageflax.bundle.inference import Variables
from ageflax.bundle.model import Member, Network
from ageflax.config import Config
from ageflax.errors import InputError
from ageflax.evaluation import unseen
from ageflax.runtime import files
from ageflax.runtime.files import Json
from ageflax.weights import transfer


@dataclasses.dataclass(frozen=True)
class Distillation:
    """Distillation of a recipe; static.

    Attributes:
      teachers: forward passes of the teachers.
      weight: share of the teachers in each task's loss.
      temperature: softness of both sides' probabilities; see losses.divergence.
      channels: channels of the student's views, "bgr" or "rgb".
      mesh: devices.
    """

    teachers: tuple[Network, ...]
    weight: float
    temperature: float
    channels: str
    mesh: Mesh

    def told(
        self,
        variables: Sequence[Variables],
        views: Float[Array, "b h w 3"],
        mean: Float[Array, "1 1 3"],
        std: Float[Array, "1 1 3"],
    ) -> dict[str, jax.Array]:
        """Mean of the teachers' probabilities per task, of the very views that the student learns from.

        Args:
          variables: weights of each teacher.
          views: input of the student, mixed if it mixes.
          mean: mean that was subtracted from the views, RGB.
          std: divisor of the views, RGB.

        References: Beyer et al., Knowledge distillation: a good teacher is patient and consistent,
          CVPR 2022.
        """
        rgb = views[..., ::-1] if self.channels == "bgr" else views
        pixels = rgb * std + mean
        answers: dict[str, list[jax.Array]] = {}
        for network, own in zip(self.teachers, variables, strict=True):
            predict = network.predict(crops="center", mesh=self.mesh, views=_views_of(network))
            for task, values in predict(own, pixels).items():
                answers.setdefault(task, []).append(values)
        means = {task: jnp.stack(given).mean(0) for task, given in answers.items()}
        return jax.lax.stop_gradient(means)


def _views_of(network: Network) -> Callable[[Variables, jax.Array], jax.Array]:
    """Function from pixels of views to a teacher's input: resized to its crop, with its own mean."""
    preprocessing = network.description.input.preprocessing
    size = preprocessing.crop

    def views(variables: Variables, pixels: jax.Array) -> jax.Array:
        shape = (len(pixels), size, size, 3)
        resized = jax.image.resize(pixels, shape, "linear")
        mean = variables.mean
        if mean.shape[0] > 1:  # of whole images; the views are crops
            top, left = ((side - size) // 2 for side in mean.shape[:2])
            mean = mean[top : top + size, left : left + size]
        return eval_views(resized, mean, preprocessing, crops="center", std=variables.std)

    return views


def load(config: Config, fold: int) -> tuple[Member, ...]:
    """Loads the teachers of one fold, and says their terms.

    Args:
      config: resolved config.
      fold: test fold, which replaces `{fold}` in the teachers' paths.

    Raises:
      InputError: a teacher cannot be loaded, lacks a task, or gives other classes or no distribution.
    """
    found = []
    for name in config.distill.teachers:
        try:
            source = files.local(name.replace("{fold}", str(fold)))
            member = loading.load(source).members[0]
        except InputError as error:
            raise InputError(f"distill.teachers: {error}") from error
        assert isinstance(member, Member)
        for task, names in configuration.class_names(config).items():
            _check_task(member, task, names)
        network = dataclasses.replace(member.network, dtype=config.model.dtype)
        found.append(dataclasses.replace(member, network=network))
    return tuple(found)


def _check_task(teacher: Member, task: str, names: Sequence[str]) -> None:
    heads = teacher.description.heads
    if task not in heads:
        raise InputError(
            f"distill.teachers: {teacher.path} has no head for {task}, but {', '.join(heads)}; name"
            " teachers of every trained task"
        )
    if heads[task] != tuple(names):
        raise InputError(
            f"distill.teachers: {teacher.path}: its classes of {task} differ from the run's; set"
            " data.label_policy and data.intervals as in its training"
        )
    if not teacher.network.objectives[task].distribution:
        raise InputError(
            f"distill.teachers: {teacher.path}: its head for {task} gives no distribution"
            f" (loss.{task} = {getattr(teacher.description.loss, task)!r}); name another teacher"
        )


def check_unseen(
    teachers: Mapping[int, Sequence[Member]], source: Json, say: Callable[[str], None]
) -> None:
    """Refuses teachers that were trained on the test faces of the student's fold, at whatever remove.

    Args:
      teachers: teachers by the student's test fold.
      source: description of the student's data.
      say: function that prints a line: datasets that may share faces with the student's are named.

    Raises:
      InputError: a teacher has seen the test faces.
    """
    notices = set()
    for number, members in teachers.items():
        for member in members:
            kept = unseen.allowed(member.description, source["fingerprint"])
            if number not in kept:
                listed = ", ".join(map(str, sorted(k for k in kept if k is not None))) or "none"
                raise InputError(
                    f"distill.teachers: {member.path} was trained on this dataset with other faces held"
                    f" out (folds: {listed}), so it has seen the test faces of fold {number}; name the"
                    " fold of the same number (RUN/fold_{fold}), or teachers of other faces"
                )
            if len(kept) == 5 and (notice := unseen.kinship(member.description, source["name"])):
                notices.add(f"distill.teachers: {member.path}: {notice}")
    for notice in sorted(notices):
        say(notice)


def networks(teachers: Mapping[int, Sequence[Member]]) -> tuple[Network, ...]:
    """Forward passes of the teachers, the same for all folds, which share their compiled steps.

    Raises:
      InputError: they differ between folds.
    """
    each = [tuple(member.network for member in members) for members in teachers.values()]
    for number, one in zip(teachers, each, strict=True):
        if one != each[0]:
            raise InputError(
                f"distill.teachers: those of fold {number} have another network, loss or input than"
                f" those of fold {next(iter(teachers))}; run the folds alone, --config.fold=K"
            )
    return each[0] if each else ()


def described(teachers: Sequence[Member]) -> list[Json]:
    """Provenance of the teachers, for result.json and the bundle."""
    found = []
    for member in teachers:
        content = member.description.to_json()
        hub = member.description.source.get("hub")
        found.append(
            {
                "source": hub["repository"] if hub else str(member.path),
                "sha256": member.sha256,
                "licence": member.description.data.get("licence"),
                "trained_on": transfer.trained_on(content),
            }
        )
    return found
