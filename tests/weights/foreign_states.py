"""Small seeded tensors under the names, and in the axes, of other projects."""

import numpy as np

VGG_PLACES = {
    "conv1_1": 0, "conv1_2": 2, "conv2_1": 5, "conv2_2": 7, "conv3_1": 10, "conv3_2": 12, "conv3_3": 14,
    "conv4_1": 17, "conv4_2": 19, "conv4_3": 21, "conv5_1": 24, "conv5_2": 26, "conv5_3": 28,
}  # fmt: skip


class Drawn:
    """A dictionary of random tensors, built layer by layer."""

    def __init__(self):
        self.tensors = {}
        self._draw = np.random.default_rng(0)

    def add(self, name, *shape):
        self.tensors[name] = self._draw.uniform(0.5, 1.5, shape).astype(np.float32)

    def linear(self, name, *shape):
        self.add(f"{name}.weight", *shape)
        self.add(f"{name}.bias", shape[0])

    def batch_norm(self, name, features):
        for part in ("weight", "bias", "running_mean", "running_var"):
            self.add(f"{name}.{part}", features)
        self.tensors[f"{name}.num_batches_tracked"] = np.array(9, np.int64)


def resnet(blocks=(2, 2, 2, 2), *, bottleneck=False, base=4):
    """torchvision's names, which are timm's too."""
    drawn = Drawn()
    drawn.add("conv1.weight", base, 3, 7, 7)
    drawn.batch_norm("bn1", base)
    inputs = base
    for stage, count in enumerate(blocks):
        features = base * 2**stage
        outputs = 4 * features if bottleneck else features
        for k in range(count):
            name = f"layer{stage + 1}.{k}"
            sides = (1, 3, 1) if bottleneck else (3, 3)
            widths = (
                [inputs, features, features, outputs] if bottleneck else [inputs, features, outputs]
            )
            for c, side in enumerate(sides):
                drawn.add(f"{name}.conv{c + 1}.weight", widths[c + 1], widths[c], side, side)
                drawn.batch_norm(f"{name}.bn{c + 1}", widths[c + 1])
            if k == 0 and (stage or inputs != outputs):
                drawn.add(f"{name}.downsample.0.weight", outputs, inputs, 1, 1)
                drawn.batch_norm(f"{name}.downsample.1", outputs)
            inputs = outputs
    drawn.linear("fc", 10, inputs)
    return drawn.tensors


def vgg(layout="torchvision", *, base=1, hidden=64):
    """VGG-16; layout is torchvision, timm or caffe."""
    drawn = Drawn()
    inputs = 3
    for name, place in VGG_PLACES.items():
        outputs = base * min(2 ** (int(name[4]) - 1), 8)
        drawn.linear(name if layout == "caffe" else f"features.{place}", outputs, inputs, 3, 3)
        inputs = outputs
    fc6, fc7, fc8 = {
        "torchvision": ("classifier.0", "classifier.3", "classifier.6"),
        "timm": ("pre_logits.fc1", "pre_logits.fc2", "head.fc"),
        "caffe": ("fc6", "fc7", "fc8"),
    }[layout]
    spatial = layout == "timm"
    drawn.linear(fc6, hidden, *((inputs, 7, 7) if spatial else (inputs * 49,)))
    drawn.linear(fc7, hidden, *((hidden, 1, 1) if spatial else (hidden,)))
    drawn.linear(fc8, 10, hidden)
    return drawn.tensors


_TIMM_VIT = (
    ("visual.conv1.weight", "patch_embed.proj.weight"),
    ("visual.class_embedding", "cls_token"),
    ("visual.positional_embedding", "pos_embed"),
    ("visual.ln_pre", "norm_pre"),
    ("visual.ln_post", "norm"),
    ("visual.transformer.resblocks", "blocks"),
    ("in_proj_", "qkv."),
    ("out_proj", "proj"),
    ("ln_", "norm"),
    ("c_fc", "fc1"),
    ("c_proj", "fc2"),
)


_VIT_OF_TRANSFORMERS = (
    ("visual.conv1", "vision_model.embeddings.patch_embedding"),
    ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    ("visual.ln_pre", "vision_model.pre_layrnorm"),
    ("visual.ln_post", "vision_model.post_layernorm"),
    ("visual.transformer.resblocks", "vision_model.encoder.layers"),
    ("attn.", "self_attn."),
    ("in_proj_", "in_proj."),
    ("ln_", "layer_norm"),
    ("c_fc", "fc1"),
    ("c_proj", "fc2"),
)


def _renamed(name, pairs):
    for before, after in pairs:
        name = name.replace(before, after)
    return name


def _vit_of_transformers(tensors, *, layout):
    found = {}
    for name, values in tensors.items():
        name = _renamed(name, _VIT_OF_TRANSFORMERS)
        if "in_proj" in name:
            for letter, part in zip("qkv", np.split(values, 3), strict=True):
                found[name.replace("in_proj", f"{letter}_proj")] = part
        else:
            found[name] = values
    if layout == "transformers, image":
        return {name.removeprefix("vision_model."): values for name, values in found.items()}
    return found | {
        "vision_model.embeddings.position_ids": np.arange(197)[None],
        "text_model.embeddings.token_embedding.weight": np.ones((9, 8), np.float32),
        "text_model.encoder.layers.0.self_attn.q_proj.weight": np.ones((8, 8), np.float32),
        "text_projection.weight": np.ones((8, 8), np.float32),
        "visual_projection.weight": np.ones((8, 64), np.float32),
        "logit_scale": np.ones((), np.float32),
    }


def vit(layout="clip", *, width=64, depth=12, tokens=197):
    """ViT-B/16; layout is clip or transformers, with some of their text encoder, or timm, or
    "transformers, image" without any."""
    drawn = Drawn()
    drawn.add("visual.class_embedding", width)
    drawn.add("visual.positional_embedding", tokens, width)
    drawn.add("visual.conv1.weight", width, 3, 16, 16)
    drawn.linear("visual.ln_pre", width)
    drawn.linear("visual.ln_post", width)
    for k in range(depth):
        block = f"visual.transformer.resblocks.{k}"
        drawn.linear(f"{block}.ln_1", width)
        drawn.add(f"{block}.attn.in_proj_weight", 3 * width, width)
        drawn.add(f"{block}.attn.in_proj_bias", 3 * width)
        drawn.linear(f"{block}.attn.out_proj", width, width)
        drawn.linear(f"{block}.ln_2", width)
        drawn.linear(f"{block}.mlp.c_fc", 4 * width, width)
        drawn.linear(f"{block}.mlp.c_proj", width, 4 * width)
    if layout == "clip":
        drawn.add("visual.proj", width, 8)
        drawn.add("logit_scale")
        drawn.add("transformer.resblocks.0.attn.in_proj_weight", 24, 8)
        return drawn.tensors
    if layout.startswith("transformers"):
        return _vit_of_transformers(drawn.tensors, layout=layout)
    found = {}
    for name, values in drawn.tensors.items():
        name = _renamed(name, _TIMM_VIT)
        found[name] = values[None] if name == "pos_embed" else values
        found[name] = values[None, None] if name == "cls_token" else found[name]
    return found | {
        "head.weight": np.ones((10, width), np.float32),
        "head.bias": np.ones(10, np.float32),
    }
