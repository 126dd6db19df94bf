"""Names of our networks' tensors in other frameworks, and our path for each.

A layout lists (pattern, replacement): the first pattern that matches a whole name gives the path.

References: torchvision's resnet.py and vgg.py; timm's vgg.py and vision_transformer.py; OpenAI's CLIP,
  model.py, whose names FaRL keeps; FaRL, farl/network/farl/model.py; transformers'
  modeling_clip.py; Caffe's VGG_ILSVRC_16_layers, whose names VGG-Face and DEX keep;
  efficientnet_pytorch's model.py, whose names efficientnet-lite-pytorch keeps.
"""

import re
from typing import NamedTuple

from ageflax.models.dlib_face_resnet import AGE_LEVELS, LEVELS, Levels

DROPPED = ""  # instead of a path: left out and reported by name, such as another classifier
COUNTED = "="  # instead of a path: left out and reported as a group with its size

# Blocks of each stage, and True for bottlenecks.
RESNETS = {
    "resnet18": ((2, 2, 2, 2), False),
    "resnet34": ((3, 4, 6, 3), False),
    "resnet50": ((3, 4, 6, 3), True),
    "resnet101": ((3, 4, 23, 3), True),
    "resnet152": ((3, 8, 36, 3), True),
}


class Layout(NamedTuple):
    """One naming of a network's tensors.

    Attributes:
      marks: names that every file in this layout has.
      first: our path of the kernel that sees the image.
      rules: pairs of a pattern over names and our path.
      bgr: True if trained on BGR, as Caffe's networks are.
    """

    marks: tuple[str, ...]
    first: str
    rules: tuple[tuple[str, str], ...]
    bgr: bool = False


_NORM = (
    (r"{}\.weight", r"params/trunk/{}/scale"),
    (r"{}\.bias", r"params/trunk/{}/bias"),
    (r"{}\.running_mean", r"batch_stats/trunk/{}/mean"),
    (r"{}\.running_var", r"batch_stats/trunk/{}/var"),
)


def _norm(pattern: str, path: str) -> tuple[tuple[str, str], ...]:
    return tuple((p.replace("{}", pattern), r.replace("{}", path)) for p, r in _NORM)


def _dense(pattern: str, path: str) -> tuple[tuple[str, str], ...]:
    return (
        (rf"{pattern}\.weight", f"params/trunk/{path}/kernel"),
        (rf"{pattern}\.bias", f"params/trunk/{path}/bias"),
    )


def _layer_norm(pattern: str, path: str) -> tuple[tuple[str, str], ...]:
    return _norm(pattern, path)[:2]


_BLOCK = r"layer(\d)\.(\d+)\."
_RESNET = Layout(
    ("conv1.weight", "layer1.0.conv1.weight"),
    "params/trunk/conv1/kernel",
    (
        *_dense(r"conv1", "conv1"),
        *_norm(r"bn1", "bn1"),
        *_dense(_BLOCK + r"conv(\d)", r"layer\1_\2/conv\3"),
        *_norm(_BLOCK + r"bn(\d)", r"layer\1_\2/bn\3"),
        *_dense(_BLOCK + r"downsample\.0", r"layer\1_\2/downsample_conv"),
        *_norm(_BLOCK + r"downsample\.1", r"layer\1_\2/downsample_bn"),
        (r".*\.num_batches_tracked", COUNTED + "num_batches_tracked"),
        (r"fc\..*", DROPPED),
    ),
)
_VGG_FEATURES = {
    0: "conv1_1", 2: "conv1_2", 5: "conv2_1", 7: "conv2_2", 10: "conv3_1", 12: "conv3_2",
    14: "conv3_3", 17: "conv4_1", 19: "conv4_2", 21: "conv4_3", 24: "conv5_1", 26: "conv5_2",
    28: "conv5_3",
}  # fmt: skip
_VGG_CONVOLUTIONS = tuple(
    rule for k, name in _VGG_FEATURES.items() for rule in _dense(rf"features\.{k}", name)
)
_VGG = (
    Layout(
        ("features.0.weight", "classifier.0.weight"),
        "params/trunk/conv1_1/kernel",
        (
            *_VGG_CONVOLUTIONS,
            *_dense(r"classifier\.0", "fc6"),
            *_dense(r"classifier\.3", "fc7"),
            (r"classifier\.6\..*", DROPPED),
        ),
    ),
    Layout(
        ("features.0.weight", "pre_logits.fc1.weight"),
        "params/trunk/conv1_1/kernel",
        (
            *_VGG_CONVOLUTIONS,
            *_dense(r"pre_logits\.fc1", "fc6"),
            *_dense(r"pre_logits\.fc2", "fc7"),
            (r"head\.fc\..*", DROPPED),
        ),
    ),
    Layout(
        ("conv1_1.weight", "fc6.weight"),
        "params/trunk/conv1_1/kernel",
        (
            *_dense(r"(conv\d_\d|fc6|fc7)", r"\1"),
            (r"fc8[^.]*\..*", DROPPED),
        ),
        bgr=True,
    ),
)


_PATCHES = "params/trunk/patch_embedding/kernel"
_NO_IMAGE = COUNTED + "not of the image encoder"
_CLIP_BLOCK = r"visual\.transformer\.resblocks\.(\d+)\."


def _vit_of_transformers(prefix: str) -> Layout:
    """CLIPModel and CLIPVisionModel of transformers; queries, keys and values are joined later."""
    before = re.escape(prefix)
    layer = before + r"encoder\.layers\.(\d+)\."
    return Layout(
        (f"{prefix}embeddings.class_embedding", f"{prefix}pre_layrnorm.weight"),
        _PATCHES,
        (
            (before + r"embeddings\.patch_embedding\.weight", _PATCHES),
            (before + r"embeddings\.class_embedding", "params/trunk/class_token"),
            (before + r"embeddings\.position_embedding\.weight", "params/trunk/position_embedding"),
            (before + r"embeddings\.position_ids", DROPPED),  # 0, 1, ... 196
            *_layer_norm(before + r"pre_layrnorm", "pre_norm"),  # sic
            *_layer_norm(before + r"post_layernorm", "post_norm"),
            *_dense(layer + r"self_attn\.([qkv])_proj", r"block_\1/\2"),
            *_dense(layer + r"self_attn\.out_proj", r"block_\1/projection"),
            *_layer_norm(layer + r"layer_norm(\d)", r"block_\1/norm\2"),
            *_dense(layer + r"mlp\.fc(\d)", r"block_\1/fc\2"),
            (r"visual_projection\.weight", DROPPED),  # to the space shared with texts
            (r"text_model\..*|text_projection\.weight|logit_scale", _NO_IMAGE),
        ),
    )


_VIT = (
    Layout(
        ("visual.conv1.weight", "visual.class_embedding"),
        _PATCHES,
        (
            (r"visual\.conv1\.weight", _PATCHES),
            (r"visual\.class_embedding", "params/trunk/class_token"),
            (r"visual\.positional_embedding", "params/trunk/position_embedding"),
            *_layer_norm(r"visual\.ln_pre", "pre_norm"),
            *_layer_norm(r"visual\.ln_post", "post_norm"),
            (_CLIP_BLOCK + r"attn\.in_proj_weight", r"params/trunk/block_\1/qkv/kernel"),
            (_CLIP_BLOCK + r"attn\.in_proj_bias", r"params/trunk/block_\1/qkv/bias"),
            *_dense(_CLIP_BLOCK + r"attn\.out_proj", r"block_\1/projection"),
            *_layer_norm(_CLIP_BLOCK + r"ln_(\d)", r"block_\1/norm\2"),
            *_dense(_CLIP_BLOCK + r"mlp\.c_fc", r"block_\1/fc1"),
            *_dense(_CLIP_BLOCK + r"mlp\.c_proj", r"block_\1/fc2"),
            (r"visual\.proj", DROPPED),  # to the space shared with texts
            # FaRL's prediction of masked patches, which some copies still have.
            (r"visual\.(mim|lm_|ln_lm\.).*|visual\.mask_token", COUNTED + "of masked images"),
            (r"(?!visual\.).*", _NO_IMAGE),
        ),
    ),
    Layout(
        ("patch_embed.proj.weight", "norm_pre.weight"),
        _PATCHES,
        (
            (r"patch_embed\.proj\.weight", _PATCHES),
            (r"cls_token", "params/trunk/class_token"),
            (r"pos_embed", "params/trunk/position_embedding"),
            *_layer_norm(r"norm_pre", "pre_norm"),
            *_layer_norm(r"norm", "post_norm"),
            *_dense(r"blocks\.(\d+)\.attn\.qkv", r"block_\1/qkv"),
            *_dense(r"blocks\.(\d+)\.attn\.proj", r"block_\1/projection"),
            *_layer_norm(r"blocks\.(\d+)\.norm(\d)", r"block_\1/norm\2"),
            *_dense(r"blocks\.(\d+)\.mlp\.fc(\d)", r"block_\1/fc\2"),
            (r"head\..*", DROPPED),
        ),
    ),
    _vit_of_transformers("vision_model."),
    _vit_of_transformers(""),  # the image encoder alone, as version 5 saves it
)
_MB_BLOCK = r"_blocks\.(\d+)\._"
_EFFICIENTNET = Layout(
    ("_conv_stem.weight", "_blocks.0._depthwise_conv.weight"),
    "params/trunk/stem_conv/kernel",
    (
        *_dense(r"_conv_(stem|head)", r"\1_conv"),
        *_norm(r"_bn0", "stem_bn"),
        *_norm(r"_bn1", "head_bn"),
        *_dense(_MB_BLOCK + r"(expand|depthwise|project)_conv", r"block_\1/\2_conv"),
        *_norm(_MB_BLOCK + r"bn0", r"block_\1/expand_bn"),
        *_norm(_MB_BLOCK + r"bn1", r"block_\1/depthwise_bn"),
        *_norm(_MB_BLOCK + r"bn2", r"block_\1/project_bn"),
        (r".*\.num_batches_tracked", COUNTED + "num_batches_tracked"),
        (r"_fc\..*", DROPPED),
    ),
)


def _dlib_resnet(levels: Levels) -> Layout:
    """Convolutions of dlib's ResNets, which are counted."""
    blocks = [f"{name}_{k}/" for name, (_, count) in levels.items() for k in range(count)]
    places = ["conv1", *(f"{block}conv{k}" for block in blocks for k in (1, 2))]
    return Layout(
        ("con1.weight", f"con{len(places)}.weight"),
        "params/trunk/conv1/kernel",
        (
            *(rule for k, place in enumerate(places, 1) for rule in _dense(f"con{k}", place)),
            (r"fc1\..*", DROPPED),
        ),
    )


_DLIB_GENDER = Layout(
    ("con1.weight", "con4.weight"),
    "params/trunk/conv1_1/kernel",
    (
        *(
            rule
            for k, place in enumerate(("conv1_1", "conv1_2", "conv2_1", "conv2_2"), 1)
            for rule in _dense(f"con{k}", place)
        ),
        *_dense(r"fc1", "fc6"),
        (r"fc2\..*", DROPPED),
    ),
)
LAYOUTS: dict[str, tuple[Layout, ...]] = {
    **dict.fromkeys(("resnet18", "resnet34", "resnet50"), (_RESNET,)),
    "vgg16": _VGG,
    "vit_b16": _VIT,
    "efficientnet_lite0": (_EFFICIENTNET,),
    "dlib_face_resnet": (_dlib_resnet(LEVELS),),
    "dlib_age_resnet": (_dlib_resnet(AGE_LEVELS),),
    "dlib_gender_cnn": (_DLIB_GENDER,),
}
