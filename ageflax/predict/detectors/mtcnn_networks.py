"""MTCNN's three networks on NumPy; their weights come in the package mtcnn, which is not imported."""

import dataclasses
import hashlib
import importlib.metadata
import io
from pathlib import Path

import numpy as np

from ageflax.errors import InputError

# MIT licence. Its code needs TensorFlow and is not used.
_PACKAGE, _FOLDER = "mtcnn", "mtcnn/assets/weights"
# Multiplications of the largest product that OpenBLAS does not share among threads, from its
# interface/gemm.c.
_ALONE = 262_144


@dataclasses.dataclass(frozen=True)
class _File:
    """A file of weights.

    Attributes:
      sha256: its checksum. A joblib file is a pickle, so no other content is opened.
      pools: side of the pooling window after each hidden layer; 0 without one.
    """

    sha256: str
    pools: tuple[int, ...]


_FILES = {
    "pnet": _File("ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5", (2, 0, 0)),
    "rnet": _File("cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee", (3, 3, 0, 0)),
    "onet": _File(
        "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3", (3, 3, 2, 0, 0)
    ),
}


@dataclasses.dataclass(frozen=True)
class _Layer:
    """A convolution; a dense layer is one as large as its input.

    Attributes:
      kernel: float32[d, c * k * k].
      bias: float32[d, 1].
      slope: float32[d, 1], of PReLU below zero.
      pool: see _File.
    """

    kernel: np.ndarray
    bias: np.ndarray
    slope: np.ndarray
    pool: int


def _kernel(weights: np.ndarray, channels: int) -> np.ndarray:
    """From [k, k, c, d], or a dense layer's [w * h * c, d], to [d, c * k * k]."""
    if weights.ndim == 2:
        side = round((len(weights) / channels) ** 0.5)
        weights = weights.reshape(side, side, channels, -1).transpose(1, 0, 2, 3)
    return np.ascontiguousarray(weights.transpose(3, 2, 0, 1).reshape(weights.shape[3], -1))


def _convolved(maps: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """float32[n, c, h, w] to [n, d, h - k + 1, w - k + 1]."""
    number, channels, height, width = maps.shape
    side = round((kernel.shape[1] / channels) ** 0.5)
    height, width = height - side + 1, width - side + 1
    # Windows of the output's size are runs of whole rows, which are copied fast.
    windows = np.lib.stride_tricks.sliding_window_view(maps, (height, width), axis=(2, 3))
    columns = windows.reshape(number, kernel.shape[1], height * width)
    found = _product(kernel, columns)
    found += bias
    return found.reshape(number, -1, height, width)


def _product(kernel: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Matrix product [d, k] by [n, k, p], on this thread alone.

    OpenBLAS shares products above a size among threads that wait for each other busily. With other work
    on the machine, such as a model's, that took 7 times the time.
    """
    length = columns.shape[2]
    if length == 1:
        return np.einsum("dk,nkp->ndp", kernel, columns)
    found = np.empty((len(columns), len(kernel), length), np.float32)
    block = min(max(_ALONE // kernel.size, 2), length)
    whole = length - length % block

    def blocks(matrices: np.ndarray) -> np.ndarray:
        parted = matrices[:, :, :whole].reshape(*matrices.shape[:2], -1, block)
        return parted.transpose(0, 2, 1, 3)

    np.matmul(kernel, blocks(columns), out=blocks(found))
    np.matmul(kernel, columns[:, :, -block:], out=found[:, :, -block:])
    return found


def _pooled(maps: np.ndarray, side: int) -> np.ndarray:
    """Maxima of windows two pixels apart; the last ones may reach beyond the map."""
    height, width = ((extent - side + 1) // 2 + 1 for extent in maps.shape[2:])
    down, across = 2 * (height - 1) + side, 2 * (width - 1) + side
    beyond = (0, 0), (0, 0), (0, down - maps.shape[2]), (0, across - maps.shape[3])
    maps = np.pad(maps, beyond, constant_values=-np.inf)
    rows = np.maximum.reduce([maps[:, :, k : k + 2 * height - 1 : 2] for k in range(side)])
    return np.maximum.reduce([rows[:, :, :, k : k + 2 * width - 1 : 2] for k in range(side)])


class Network:
    """One of MTCNN's networks.

    Args:
      arrays: kernel, bias and slope of each hidden layer, then kernel and bias of each output.
      pools: see _File.
    """

    def __init__(self, arrays: list[np.ndarray], pools: tuple[int, ...]):
        layers, channels = [], 3
        for number, pool in enumerate(pools):
            weights, bias, slope = arrays[3 * number : 3 * number + 3]
            slope = slope.reshape(-1, 1)
            layers.append(_Layer(_kernel(weights, channels), bias[:, None], slope, pool))
            channels = len(bias)
        outputs = iter(arrays[3 * len(pools) :])
        self._layers = layers
        self._outputs = [
            (_kernel(weights, channels), bias[:, None])
            for weights, bias in zip(outputs, outputs, strict=True)
        ]

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        """Applies the network.

        Args:
          images: uint8[n, h, w, 3], RGB; h and w at least 12, 24 or 48.

        Returns:
          float32[n, d, h', w'] of each output: shares by which the window's left, top, right and bottom
          are to move; the third network: x of five points as shares of the window, then y; logits of
          "no face" and "a face".
        """
        maps = (images.transpose(0, 3, 1, 2) - np.float32(127.5)) / np.float32(128)
        for layer in self._layers:
            maps = _convolved(maps, layer.kernel, layer.bias)
            below = np.minimum(maps, 0)
            below *= (layer.slope - 1)[:, :, None]
            maps += below
            if layer.pool:
                maps = _pooled(maps, layer.pool)
        return [_convolved(maps, kernel, bias) for kernel, bias in self._outputs]


def read() -> tuple[Network, Network, Network]:
    """Reads the networks that propose, refine and complete faces.

    Raises:
      InputError: the package or a file is absent, or its content is another.
    """
    try:
        package = importlib.metadata.distribution(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise InputError(
            f"--detector=mtcnn: the package is not installed; pip install {_PACKAGE}"
        ) from None
    # Imported late: it takes a tenth of a second.
    import joblib

    networks = []
    for name, file in _FILES.items():
        path = Path(str(package.locate_file(f"{_FOLDER}/{name}.lz4")))
        again = "pip install --force-reinstall mtcnn==1.0.0"
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}; {again}") from error
        found = hashlib.sha256(content).hexdigest()
        if found != file.sha256:
            raise InputError(f"{path}: sha256 is {found}, not {file.sha256}; {again}")
        networks.append(Network(joblib.load(io.BytesIO(content)), file.pools))
    proposing, refining, completing = networks
    return proposing, refining, completing
