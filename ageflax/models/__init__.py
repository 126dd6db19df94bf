"""Networks by their names in a config."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from ageflax.models.dlib_face_resnet import DlibAgeResNet, DlibFaceResNet
from ageflax.models.dlib_gender_cnn import DlibGenderCNN
from ageflax.models.efficientnet_lite import EfficientNetLite0
from ageflax.models.inception_small import InceptionSmall
from ageflax.models.levi_hassner import LeviHassner
from ageflax.models.multitask_gray import MultitaskGray
from ageflax.models.network import Head, Heads, Network
from ageflax.models.resnet import ResNet18, ResNet34, ResNet50
from ageflax.models.resnet_small import ResNetSmall
from ageflax.models.vgg import VGG16
from ageflax.models.vit import ViTB16

TRUNKS: dict[str, type[nn.Module]] = {
    "levi_hassner": LeviHassner,
    "resnet18": ResNet18,
    "resnet34": ResNet34,
    "resnet50": ResNet50,
    "vgg16": VGG16,
    "inception_small": InceptionSmall,
    "resnet_small": ResNetSmall,
    "multitask_gray": MultitaskGray,
    "vit_b16": ViTB16,
    "dlib_face_resnet": DlibFaceResNet,
    "dlib_age_resnet": DlibAgeResNet,
    "dlib_gender_cnn": DlibGenderCNN,
    "efficientnet_lite0": EfficientNetLite0,
}


def build(model: Mapping[str, Any], heads: Mapping[str, Head]) -> Network:
    """Builds the network of a config's `model` group.

    Args:
      model: `name`, a key of TRUNKS, `dtype`, `head_hidden`, `head_dropout`, and attributes of the
        trunk; None for attributes it does not have.
      heads: last layer of each task.
    """
    dtype = jnp.dtype(model["dtype"])
    shared = ("name", "dtype", "head_hidden", "head_dropout")
    options = {k: v for k, v in model.items() if k not in shared and v is not None}
    trunk = TRUNKS[model["name"]](dtype=dtype, **options)
    towers = {}
    if model.get("head_hidden"):
        towers = {"hidden": tuple(model["head_hidden"]), "dropout": model["head_dropout"]}
    return Network(trunk=trunk, heads=Heads(tasks=dict(heads), dtype=dtype, **towers))


__all__ = ["TRUNKS", "Head", "Heads", "Network", "build"]
