"""Makes levi_hassner.npz: the network and its training in PyTorch and OpenCV's Caffe importer.

    python -m tests.golden.make_levi_hassner          # from the repository's root

needs torch, opencv-python-headless below 5 (for its Caffe importer), protobuf and numpy, and imports
nothing of ageflax. The committed file was made with torch 2.13.0 (CPU), OpenCV 4.14.0, protobuf
7.36.2, numpy 2.4.6 and Python 3.11.

PyTorch computes in float64, so the file holds the network's values without one library's rounding; its
float32 logits differ by 9e-6. OpenCV computes in float32.

Contents, all for the eight age classes:
  weights_large, weights_paper, images: sums and first values, to tell a change of numpy's random
    streams from a fault of the network.
  STAGE/probe, STAGE/moments: for pool1, norm1, pool2, norm2, pool5, fc6 and fc7 (after ReLU), with LARGE
    weights and three images: a few values; mean and standard deviation over all values.
  logits, probabilities_opencv: for the same images.
  sgd/losses, sgd/step1/..., sgd/step4/...: torch.optim.SGD with the paper's recipe, PAPER weights,
    batches of the same four images, no dropout. The loss before each step; and by array, the norm and a
    few values of the step's update.
  drop/...: the same with Caffe's rule written out and a tenth of the rate from step 3 on. PyTorch keeps
    the rate out of the momentum, so its own optimiser would take another third step.
  sgd/weights/..., drop/weights/...: a few values of every array after the last step.
"""

# pyright: reportMissingImports=false

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from torch.nn import functional as F  # noqa: N812

from tests.golden import levi_hassner_weights as shared

OUTPUT = Path(__file__).with_name("levi_hassner.npz")
LABELS = (0, 3, 5, 7)
STEPS = 4
RATE, MOMENTUM, DECAY = 1e-3, 0.9, 5e-4

Tensors = dict[str, torch.Tensor]

_CONVOLUTION = """
layer {{ name: "conv{i}" type: "Convolution" bottom: "{bottom}" top: "conv{i}"
  convolution_param {{ num_output: {features} kernel_size: {kernel} stride: {stride} pad: {pad} }} }}
layer {{ name: "relu{i}" type: "ReLU" bottom: "conv{i}" top: "conv{i}" }}
layer {{ name: "{pool}" type: "Pooling" bottom: "conv{i}" top: "{pool}"
  pooling_param {{ pool: MAX kernel_size: 3 stride: 2 }} }}
"""
_NORM = """
layer {{ name: "norm{i}" type: "LRN" bottom: "pool{i}" top: "norm{i}"
  lrn_param {{ local_size: 5 alpha: 0.0001 beta: 0.75 }} }}
"""
_FULLY_CONNECTED = """
layer {{ name: "fc{i}" type: "InnerProduct" bottom: "{bottom}" top: "fc{i}"
  inner_product_param {{ num_output: {features} }} }}
"""
_HIDDEN = """
layer {{ name: "relu{i}" type: "ReLU" bottom: "fc{i}" top: "fc{i}" }}
layer {{ name: "drop{i}" type: "Dropout" bottom: "fc{i}" top: "fc{i}"
  dropout_param {{ dropout_ratio: 0.5 }} }}
"""


def prototxt(images: int) -> str:
    """The deploy network in Caffe's text format."""
    head = f'name: "CaffeNet" input: "data" input_dim: {images} input_dim: 3 '
    parts = [head + f"input_dim: {shared.CROP} input_dim: {shared.CROP}"]
    convolutions = (
        ("data", 96, 7, 4, 0, "pool1"),
        ("norm1", 256, 5, 1, 2, "pool2"),
        ("norm2", 384, 3, 1, 1, "pool5"),
    )
    for i, (bottom, features, kernel, stride, pad, pool) in enumerate(convolutions, start=1):
        parts.append(
            _CONVOLUTION.format(
                i=i,
                bottom=bottom,
                features=features,
                kernel=kernel,
                stride=stride,
                pad=pad,
                pool=pool,
            )
        )
        if i < 3:
            parts.append(_NORM.format(i=i))
    for i, bottom, features in ((6, "pool5", 512), (7, "fc6", 512), (8, "fc7", shared.CLASSES)):
        parts.append(_FULLY_CONNECTED.format(i=i, bottom=bottom, features=features))
        if i < 8:
            parts.append(_HIDDEN.format(i=i))
    parts.append('layer { name: "prob" type: "Softmax" bottom: "fc8" top: "prob" }')
    return "\n".join(parts)


def _net_parameter() -> Any:
    """An empty caffe.NetParameter with the few fields of caffe.proto that hold weights."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="caffe_weights.proto", package="caffe")
    fields = {
        "BlobShape": [("dim", 1, kinds.TYPE_INT64, None)],
        "BlobProto": [
            ("data", 5, kinds.TYPE_FLOAT, None),
            ("shape", 7, kinds.TYPE_MESSAGE, "BlobShape"),
        ],
        "LayerParameter": [
            ("name", 1, kinds.TYPE_STRING, None),
            ("type", 2, kinds.TYPE_STRING, None),
            ("blobs", 7, kinds.TYPE_MESSAGE, "BlobProto"),
        ],
        "NetParameter": [("layer", 100, kinds.TYPE_MESSAGE, "LayerParameter")],
    }
    for message, members in fields.items():
        proto = file.message_type.add(name=message)
        for name, number, kind, of in members:
            single = name in ("name", "type", "shape")
            label = kinds.LABEL_OPTIONAL if single else kinds.LABEL_REPEATED
            field = proto.field.add(name=name, number=number, type=kind, label=label)
            if of:
                field.type_name = f".caffe.{of}"
            if name in ("dim", "data"):
                field.options.packed = True
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))()


def caffemodel(weights: shared.Weights) -> bytes:
    """The weights as a V2 caffemodel."""
    net = _net_parameter()
    for name, arrays in weights.items():
        kind = "Convolution" if name.startswith("conv") else "InnerProduct"
        layer = net.layer.add(name=name, type=kind)
        for array in arrays:
            blob = layer.blobs.add()
            blob.shape.dim.extend(array.shape)
            blob.data.extend(array.ravel())
    return net.SerializeToString()


def opencv_probabilities(weights: shared.Weights, images: np.ndarray) -> np.ndarray:
    """Probabilities of the network from OpenCV's Caffe importer."""
    text = prototxt(len(images)).encode()
    net = cv2.dnn.readNetFromCaffe(
        np.frombuffer(text, np.uint8), np.frombuffer(caffemodel(weights), np.uint8)
    )
    net.setInput(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return np.asarray(net.forward("prob")).reshape(len(images), -1)


def tensors(weights: shared.Weights) -> Tensors:
    """The weights as float64 leaves, "conv1.weight", "conv1.bias" and so on."""
    return {
        f"{name}.{kind}": torch.tensor(array, dtype=torch.float64, requires_grad=True)
        for name, pair in weights.items()
        for kind, array in zip(("weight", "bias"), pair, strict=True)
    }


def stages(
    w: Tensors, x: torch.Tensor, *, lrn: bool = True, alpha: float = 1e-4, ceil: bool = True
) -> Tensors:
    """Every stage of the network by Caffe's name; "fc8" are the logits.

    Floor pooling leaves 6 x 6 before fc6, which is then padded with zeros.
    """
    found = {}
    geometry = (("conv1", "1", 4, 0), ("conv2", "2", 1, 2), ("conv3", "5", 1, 1))
    for name, number, stride, padding in geometry:
        x = F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride=stride, padding=padding)
        x = found[f"pool{number}"] = F.max_pool2d(F.relu(x), 3, 2, ceil_mode=ceil)
        if lrn and number != "5":
            x = found[f"norm{number}"] = F.local_response_norm(x, 5, alpha, 0.75, 1.0)
    x = F.pad(x, (0, 7 - x.shape[3], 0, 7 - x.shape[2])).flatten(1)
    for name in ("fc6", "fc7"):
        x = found[name] = F.relu(F.linear(x, w[f"{name}.weight"], w[f"{name}.bias"]))
    found["fc8"] = F.linear(x, w["fc8.weight"], w["fc8.bias"])
    return found


def multiplier(name: str) -> float:
    """Caffe's lr_mult: 1 for weights and 2 for biases, ten times that in fc8."""
    return (10.0 if name.startswith("fc8") else 1.0) * (2.0 if name.endswith("bias") else 1.0)


def decay(name: str) -> float:
    """Weight decay; Caffe's decay_mult is 0 for biases."""
    return 0.0 if name.endswith("bias") else DECAY


class CaffeSgd:
    """v <- momentum v + rate multiplier (g + decay w); w <- w - v."""

    def __init__(self, w: Tensors, rates: tuple[float, ...]) -> None:
        self.w, self.rates = w, iter(rates)
        self.v = {name: torch.zeros_like(tensor) for name, tensor in w.items()}

    @torch.no_grad()
    def step(self) -> None:
        rate = next(self.rates)
        for name, w in self.w.items():
            assert w.grad is not None
            change = rate * multiplier(name) * (w.grad + decay(name) * w)
            self.v[name] = MOMENTUM * self.v[name] + change
            w -= self.v[name]


def torch_sgd(w: Tensors) -> torch.optim.SGD:
    """PyTorch's SGD with one parameter group per array."""
    groups = [
        {"params": [tensor], "lr": RATE * multiplier(name), "weight_decay": decay(name)}
        for name, tensor in w.items()
    ]
    return torch.optim.SGD(groups, lr=RATE, momentum=MOMENTUM)


def train(
    w: Tensors, optimiser: CaffeSgd | torch.optim.SGD, images: torch.Tensor, prefix: str
) -> dict[str, np.ndarray]:
    """Takes STEPS steps on one batch and records them."""
    record: dict[str, Any] = {}
    losses = []
    for step in range(1, STEPS + 1):
        for tensor in w.values():
            tensor.grad = None
        loss = F.cross_entropy(stages(w, images)["fc8"], torch.tensor(LABELS))
        loss.backward()
        losses.append(loss.item())
        before = {name: tensor.detach().clone() for name, tensor in w.items()}
        optimiser.step()
        if step in (1, STEPS):
            changes = [(w[name] - before[name]).detach().numpy() for name in w]
            record[f"{prefix}/step{step}/norms"] = np.array([np.linalg.norm(c) for c in changes])
            for name, change in zip(w, changes, strict=True):
                record[f"{prefix}/step{step}/{name}"] = shared.sample(change)
    record[f"{prefix}/losses"] = np.array(losses)
    for name, tensor in w.items():
        record[f"{prefix}/weights/{name}"] = shared.sample(tensor.detach().numpy())
    return record


def forward_record(weights: shared.Weights, images: np.ndarray) -> dict[str, np.ndarray]:
    """Stages, logits and probabilities, after checking that every stage matters."""
    w, x = tensors(weights), torch.tensor(images.transpose(0, 3, 1, 2), dtype=torch.float64)
    with torch.no_grad():
        found = {name: stage.numpy() for name, stage in stages(w, x).items()}
        mistakes = {
            "without LRN": stages(w, x, lrn=False),
            "LRN with alpha not divided by 5": stages(w, x, alpha=5e-4),
            "pooling that rounds down": stages(w, x, ceil=False),
        }
        float32 = stages({name: tensor.float() for name, tensor in w.items()}, x.float())["fc8"]
    logits = found.pop("fc8")
    for mistake, wrong in mistakes.items():
        difference = np.abs(wrong["fc8"].numpy() - logits).max()
        print(f"{mistake}: logits differ by {difference:.2f}")
        assert difference > 0.5
    print(f"float32: logits differ by {np.abs(float32.numpy() - logits).max():.1e}")
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    probabilities = opencv_probabilities(weights, images)
    print(f"OpenCV: probabilities differ by {np.abs(probabilities - softmax).max():.1e}")
    np.testing.assert_allclose(probabilities, softmax, rtol=1e-4)
    record = {"logits": logits, "probabilities_opencv": probabilities}
    for name, stage in found.items():
        record[f"{name}/probe"] = shared.probe(stage)
        record[f"{name}/moments"] = np.array([stage.mean(), stage.std()])
    return record


def main() -> None:
    """Writes the golden file."""
    large, paper = shared.draw_weights(shared.LARGE), shared.draw_weights(shared.PAPER)
    images = shared.draw_images(len(LABELS))
    record = {
        "weights_large": shared.checksum(large),
        "weights_paper": shared.checksum(paper),
        "images": np.array([images.sum(dtype=np.float64), *images.ravel()[:3]]),
        **forward_record(large, images[:3]),
    }
    batch = torch.tensor(images.transpose(0, 3, 1, 2), dtype=torch.float64)
    w = tensors(paper)
    record |= train(w, torch_sgd(w), batch, "sgd")
    w = tensors(paper)
    record |= train(w, CaffeSgd(w, (RATE, RATE, RATE / 10, RATE / 10)), batch, "drop")
    print(f"losses: {record['sgd/losses']}, with the drop: {record['drop/losses']}")
    np.savez_compressed(OUTPUT, allow_pickle=False, **record)
    print(f"{OUTPUT.name}: {OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
