"""Writes Caffe files with random weights, and the deploy text that OpenCV needs to read them."""

from typing import Any

import numpy as np

from ageflax.weights.formats import protobufs

# With the fields that say what comes in, which reading does not need.
_SCHEMA = protobufs.CAFFE | {
    "NetParameter": protobufs.CAFFE["NetParameter"]
    | {"input": (3, "*bytes"), "input_dim": (4, "*int32"), "input_shape": (8, "*BlobShape")},
    "LayerParameter": protobufs.CAFFE["LayerParameter"] | {"input_param": (143, "InputParameter")},
    "InputParameter": {"shape": (1, "*BlobShape")},
}
_CLASSES = protobufs.message_classes(_SCHEMA, "written_by_tests")
_V1 = {"Convolution": 4, "Dropout": 6, "InnerProduct": 14, "LRN": 15, "Pooling": 17, "ReLU": 18,
       "Softmax": 20, "SoftmaxWithLoss": 21, "Data": 5, "Concat": 3}  # fmt: skip


def levi(width=1 / 16, outputs=8, *, crop=227):
    """Layers of the authors' network: (type, name, settings)."""
    f = lambda n: max(round(n * width), 1)  # noqa: E731
    layers: list[Any] = [("Data", "data", {"crop": crop})]
    for k, (features, side, stride, pad) in enumerate(
        ((96, 7, 4, 0), (256, 5, 1, 2), (384, 3, 1, 1)), 1
    ):
        layers += [
            (
                "Convolution",
                f"conv{k}",
                {"num_output": f(features), "kernel_size": side, "stride": stride, "pad": pad},
            ),
            ("ReLU", f"relu{k}", {}),
            ("Pooling", f"pool{k}", {"kernel_size": 3, "stride": 2}),
        ]
        if k < 3:
            layers.append(("LRN", f"norm{k}", {"local_size": 5, "alpha": 1e-4, "beta": 0.75}))
    for k in (6, 7):
        layers += [
            ("InnerProduct", f"fc{k}", {"num_output": f(512)}),
            ("ReLU", f"relu{k}", {}),
            ("Dropout", f"drop{k}", {}),
        ]
    return [*layers, ("InnerProduct", "fc8", {"num_output": outputs}), ("Softmax", "prob", {})]


def vgg16(width=1 / 16, outputs=101, *, crop=224):
    f = lambda n: max(round(n * width), 1)  # noqa: E731
    layers: list[Any] = [("Data", "data", {"crop": crop})]
    for stage, (features, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        for k in range(1, count + 1):
            layers += [
                (
                    "Convolution",
                    f"conv{stage}_{k}",
                    {"num_output": f(features), "kernel_size": 3, "stride": 1, "pad": 1},
                ),
                ("ReLU", f"relu{stage}_{k}", {}),
            ]
        layers.append(("Pooling", f"pool{stage}", {"kernel_size": 2, "stride": 2}))
    for k in (6, 7):
        layers += [
            ("InnerProduct", f"fc{k}", {"num_output": f(4096)}),
            ("ReLU", f"relu{k}", {}),
            ("Dropout", f"drop{k}", {}),
        ]
    return [*layers, ("InnerProduct", "fc8-101", {"num_output": outputs}), ("Softmax", "prob", {})]


def drawn(layers, *, seed=0):
    """Kernel and bias of each weighted layer, scaled to keep signals alive."""
    draw = np.random.default_rng(seed)
    inputs, side, found = 3, layers[0][2]["crop"], {}
    for kind, name, given in layers:
        if kind == "Convolution":
            k = given["kernel_size"]
            shape = (given["num_output"], inputs, k, k)
            side = (side + 2 * given["pad"] - k) // given["stride"] + 1
        elif kind == "Pooling":
            side = -(-(side - given["kernel_size"]) // given["stride"]) + 1
            continue
        elif kind == "InnerProduct":
            shape = (given["num_output"], inputs * side * side)
        else:
            continue
        spread = np.sqrt(2 / np.prod(shape[1:]))
        # Pixels are large, and small scores show differences in every class of a softmax.
        spread /= 50 if name in ("conv1", "conv1_1") else 4 if name.startswith("fc8") else 1
        kernel = draw.normal(0, spread, shape).astype(np.float32)
        found[name] = kernel, draw.normal(0, 0.1, shape[0]).astype(np.float32)
        inputs, side = shape[0], side if kind == "Convolution" else 1
    return found


def _blob(blob, values, *, legacy, double):
    if legacy:
        shape = (1,) * (4 - values.ndim) + values.shape
        blob.num, blob.channels, blob.height, blob.width = shape
    else:
        blob.shape.dim.extend(values.shape)
    if double:
        blob.double_data.append(values.astype("<f8").tobytes())
    else:
        blob.data.append(values.astype("<f4").tobytes())


def _set_params(layer, kind, given):
    if kind == "Convolution":
        param = layer.convolution_param
        param.num_output = given["num_output"]
        for name in ("kernel_size", "stride", "pad"):
            getattr(param, name).append(given[name])
        if "group" in given:
            param.group = given["group"]
    elif kind == "Pooling":
        layer.pooling_param.kernel_size, layer.pooling_param.stride = (
            given["kernel_size"],
            given["stride"],
        )
        layer.pooling_param.pool = given.get("pool", 0)
    elif kind == "InnerProduct":
        layer.inner_product_param.num_output = given["num_output"]
    elif kind == "LRN":
        for name, value in given.items():
            setattr(layer.lrn_param, name, value)


def _declare_input(net, source, shape):
    """Says what comes in, as a deploy file does; "Data" is the layer of training."""
    if source == "input_dim":
        net.input.append(b"data")
        net.input_dim.extend(shape)
    elif source == "input_shape":
        net.input.append(b"data")
        net.input_shape.add().dim.extend(shape)
    elif source == "Input":
        net.layer.add(
            name=b"data", type=b"Input", top=[b"data"]
        ).input_param.shape.add().dim.extend(shape)


def caffemodel(layers, weights, *, version, double=False, source="Data"):
    """Bytes of a .caffemodel of version 1 or 2.

    Args:
      source: "Data" as after Caffe's training; input_dim, input_shape or Input as saved from a deploy
        file, the last of version 2 alone.
    """
    net = _CLASSES["NetParameter"](name=b"drawn")
    blob = b""
    if source != "Data":
        crop = layers[0][2]["crop"]
        _declare_input(net, source, (1, 3, crop, crop))
        layers, blob = layers[1:], b"data"
    for kind, name, given in layers:
        layer = (net.layers if version == 1 else net.layer).add(name=name.encode())
        layer.type = _V1[kind] if version == 1 else kind.encode()
        if blob:
            layer.bottom.append(blob)
        # ReLU and dropout write in place.
        blob = blob if kind in ("ReLU", "Dropout") else name.encode()
        layer.top.append(blob)
        _set_params(layer, kind, given)
        for values in weights.get(name, ()):
            _blob(layer.blobs.add(), values, legacy=version == 1, double=double)
    return net.SerializeToString()


_V1_TEXT = {"Convolution": "CONVOLUTION", "Dropout": "DROPOUT", "InnerProduct": "INNER_PRODUCT",
            "LRN": "LRN", "Pooling": "POOLING", "ReLU": "RELU", "Softmax": "SOFTMAX"}  # fmt: skip
_PARAMS = {"Convolution": "convolution_param", "Pooling": "pooling_param", "LRN": "lrn_param",
           "InnerProduct": "inner_product_param"}  # fmt: skip


def deploy(layers, *, version=2, source="input_dim", batch=1):
    """The deploy text of the same network.

    Args:
      version: 1 for `layers` with types in capitals, 2 for `layer`.
      source: input_dim, input_shape, or Input, a layer of version 2.
      batch: images that it declares.
    """
    crop = layers[0][2]["crop"]
    shape = (batch, 3, crop, crop)
    dims = " ".join(f"dim: {n}" for n in shape)
    declared = {
        "input_dim": ['input: "data"', *(f"input_dim: {n}" for n in shape)],
        "input_shape": ['input: "data"', f"input_shape {{ {dims} }}"],
        "Input": [
            f'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {dims} }} }} }}'
        ],
    }
    lines, blob = ['name: "drawn"', *declared[source]], "data"
    for kind, name, given in layers[1:]:
        top = blob if kind in ("ReLU", "Dropout") else name
        inside = " ".join(f"{key}: {value}" for key, value in given.items())
        inside = f"{_PARAMS[kind]} {{ {inside} }}" if kind in _PARAMS else ""
        word, written = ("layers", _V1_TEXT[kind]) if version == 1 else ("layer", f'"{kind}"')
        lines.append(
            f'{word} {{ name: "{name}" type: {written} bottom: "{blob}" top: "{top}" {inside} }}'
        )
        blob = top
    return "\n".join(lines)


def mean_file(image):
    """Bytes of a mean.binaryproto of float32[h, w, 3], BGR."""
    blob = _CLASSES["BlobProto"]()
    _blob(blob, image.transpose(2, 0, 1), legacy=True, double=False)
    return blob.SerializeToString()
