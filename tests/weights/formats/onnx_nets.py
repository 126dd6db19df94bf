"""Writes ONNX files of our networks' structure with onnx.helper, in the styles of several exporters."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper


class Writer:
    """A chain of nodes; names and order of the initializers carry no information.

    Args:
      constants: "initializer", or "node" for Constant nodes.
    """

    def __init__(self, *, seed=0, constants="initializer"):
        self.draw = np.random.default_rng(seed)
        self.nodes, self.tensors, self.value = [], [], "image"
        self._constants, self._count, self.outputs = constants, 0, 0

    def constant(self, values):
        name = f"t{self.draw.integers(10**9)}_{len(self.tensors) + len(self.nodes)}"
        tensor = numpy_helper.from_array(np.asarray(values), name)
        if self._constants == "node":
            self.nodes.append(helper.make_node("Constant", [], [name], value=tensor))
        else:
            self.tensors.append(tensor)
        return name

    def node(self, operator, *constants, inputs=None, **attributes):
        self._count += 1
        names = [*(inputs or [self.value]), *(self.constant(values) for values in constants)]
        self.value = f"v{self._count}"
        self.nodes.append(
            helper.make_node(operator, names, [self.value], name=f"n{self._count}", **attributes)
        )
        return self.value

    def drawn(self, *shape, gain=1.0):
        return (self.draw.normal(0, gain * np.sqrt(2 / np.prod(shape[1:])), shape)).astype(
            np.float32
        )

    def bias(self, outputs):
        return self.draw.normal(0, 0.1, outputs).astype(np.float32)

    def conv(self, outputs, inputs, side, stride, pad, *, bias=True, gain=1.0):
        constants = [self.drawn(outputs, inputs, side, side, gain=gain)] + (
            [self.bias(outputs)] if bias else []
        )
        self.node("Conv", *constants, kernel_shape=[side] * 2, strides=[stride] * 2, pads=[pad] * 4)

    def dense(self, outputs, inputs, *, how="Gemm", gain=1.0):
        kernel, bias = self.drawn(outputs, inputs, gain=gain), self.bias(outputs)
        self.outputs = outputs
        if how == "Gemm":
            self.node("Gemm", kernel, bias, transB=1)
        else:
            self.node("MatMul", np.ascontiguousarray(kernel.T))
            self.node("Add", bias)

    def norm(self, features):
        uniform = lambda: self.draw.uniform(0.5, 1.5, features).astype(np.float32)  # noqa: E731
        self.node(
            "BatchNormalization",
            uniform(),
            self.bias(features),
            self.bias(features),
            uniform(),
            epsilon=2e-5,
        )

    def model(self, side, *, old=False):
        """Message of the file; old ones list their initializers among the inputs."""
        self.draw.shuffle(self.tensors)
        last = self.nodes[0].op_type == "Transpose"
        shape = [1, side, side, 3] if last else [1, 3, side, side]
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
        output = helper.make_tensor_value_info(self.value, TensorProto.FLOAT, [1, self.outputs])
        inputs = [image]
        if old:
            inputs = [
                *(
                    helper.make_tensor_value_info(t.name, t.data_type, list(t.dims))
                    for t in self.tensors
                ),
                image,
            ]
        graph = helper.make_graph(self.nodes, "net", inputs, [output], self.tensors)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)


def levi(*, pooling="ceil", how="Gemm", flatten="Flatten", outputs=8, softmax=True, **given):
    """Levi-Hassner at width 1/16; pooling rounds up by ceil_mode, or by padding the end.

    Flattened as "tf2onnx" does it, channels are last at the input and before the first dense layer.
    """
    w = Writer(**given)
    inputs = 3
    if flatten == "tf2onnx":
        w.node("Transpose", perm=[0, 3, 1, 2])
    for k, (features, side, stride, pad) in enumerate(((6, 7, 4, 0), (16, 5, 1, 2), (24, 3, 1, 1))):
        w.conv(features, inputs, side, stride, pad, gain=0.02 if k == 0 else 1.0)
        w.node("Relu")
        rounding = {"ceil_mode": 1} if pooling == "ceil" else {"pads": [0, 0, 1, 1]}
        w.node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], **rounding)
        if k < 2:
            w.node("LRN", size=5, alpha=1e-4, beta=0.75, bias=1.0)
        inputs = features
    if flatten == "tf2onnx":
        w.node("Transpose", perm=[0, 2, 3, 1])
    if flatten != "Reshape":
        w.node("Flatten", axis=1)
    else:
        w.node("Reshape", np.array([1, -1]))
    for inputs in (24 * 49, 32):
        w.dense(32, inputs, how=how)
        w.node("Relu")
        w.node("Dropout")
    w.dense(outputs, 32, how=how, gain=0.25)
    if softmax:
        w.node("Softmax", axis=1)
    return w


def vgg16(**given):
    """VGG-16 at width 1/32 for 32 pixels, with a last map of one pixel."""
    w = Writer(**given)
    inputs = 3
    for stage, (features, count) in enumerate(((2, 2), (4, 2), (8, 3), (16, 3), (16, 3))):
        for k in range(count):
            w.conv(features, inputs, 3, 1, 1, gain=0.02 if stage == k == 0 else 1.0)
            w.node("Relu")
            inputs = features
        w.node("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    w.node("AveragePool", kernel_shape=[1, 1], strides=[1, 1])
    w.node("Flatten", axis=1)
    for inputs in (16, 128):
        w.dense(128, inputs)
        w.node("Relu")
    w.dense(101, 128, gain=0.25)
    return w


def resnet(*, bottleneck=False, norm=True, swapped=False, blocks=(2, 2, 2, 2), **given):
    """ResNet at width 1/16; norms folded, as exporters do; inputs of sums in either order."""
    w = Writer(**given)

    def conv(outputs, inputs, side, stride, gain=1.0):
        w.conv(outputs, inputs, side, stride, (side - 1) // 2, bias=not norm, gain=gain)
        if norm:
            w.norm(outputs)

    conv(4, 3, 7, 2, 0.02)
    w.node("Relu")
    w.node("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    inputs = 4
    for stage, count in enumerate(blocks):
        f = 4 * 2**stage
        for k in range(count):
            stride, start = (2 if stage and not k else 1), w.value
            layers = (
                [(f, 1, 1), (f, 3, stride), (4 * f, 1, 1)]
                if bottleneck
                else [(f, 3, stride), (f, 3, 1)]
            )
            features = inputs
            for place, (outputs, side, step) in enumerate(layers):
                conv(outputs, features, side, step, 0.7)
                features = outputs
                if place < len(layers) - 1:
                    w.node("Relu")
            main, shortcut = w.value, start
            if features != inputs or stride > 1:
                w.value = start
                conv(features, inputs, 1, stride, 0.7)
                shortcut = w.value
            w.node("Add", inputs=[shortcut, main] if swapped else [main, shortcut])
            w.node("Relu")
            inputs = features
    w.node("GlobalAveragePool")
    w.node("Flatten", axis=1)
    w.dense(8, inputs, gain=0.25)
    return w
