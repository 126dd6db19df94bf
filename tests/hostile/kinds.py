"""Every kind of untrusted file, with good examples and its reader."""

import contextlib
import dataclasses
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, features

from ageflax.errors import InputError, RunError
from tests.hostile import guard


@dataclasses.dataclass(frozen=True)
class Case:
    """A kind of file, set up in its own folder.

    Attributes:
      seeds: good files, accepted by the reader.
      read: function that writes an input in its place and reads it as a user's command would.
      refusals: exceptions that the command turns into a message.
      hostile: malicious files; the reader refuses them or takes nothing from them.
    """

    seeds: list[bytes]
    read: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...] = (InputError,)
    hostile: list[bytes] = dataclasses.field(default_factory=list)


def _opened(folder: Path, paths: list[str]) -> None:
    """Opens the paths named in a table, as the builders do."""
    from ageflax.data import images

    for path in paths:
        with contextlib.suppress(images.BadImageError):
            images.read(folder / path)


def _fold_files(folder: Path) -> Case:
    from tfds_builders.adience import fold_files, photographs

    header = "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\n"

    def text(fold: int) -> bytes:
        rows = "".join(
            f"{fold}@N0{k}\t{fold}{k}_o.jpg\t{10 * fold + k}\t({k}, {k + 2})\t{'fmu'[k % 3]}\t1\t2\n"
            for k in range(6)
        )
        return (header + rows).encode()

    for fold in fold_files.FOLDS:
        (folder / fold_files.name(fold)).write_bytes(text(fold))

    def read(content: bytes) -> None:
        (folder / fold_files.name(2)).write_bytes(content)
        faces = fold_files.read(folder).faces
        _opened(folder, [photographs.relative_path(face, "aligned") for face in faces])

    return Case([text(2), b"\xef\xbb\xbf" + text(2).replace(b"\n", b"\r\n")], read)


def _labels_csv(folder: Path) -> Case:
    from tfds_builders.labeled_faces import identity, labels_file, rows

    def text(delimiter: str) -> bytes:
        lines = [["path", "age", "age_group", "gender", "subject", "fold", "note"]]
        lines += [
            [f"a/{k}.jpg", str(3 * k), "25-32", "mf"[k % 2], f"p{k}", str(k % 5), '"x, y"']
            for k in range(12)
        ]
        return "\n".join(delimiter.join(line) for line in lines).encode()

    def read(content: bytes) -> None:
        path = folder / labels_file.NAME
        path.write_bytes(content)
        file = labels_file.read(path)
        assert isinstance(file.notice, str)
        faces, _ = rows.parse_all(file.lines)
        identity.check_given_folds(faces)
        _opened(folder, [face.path for face in faces])
        if faces:
            identity.divide(identity.name_unnamed(faces, []))

    return Case([text(","), text(";").replace(b'"x, y"', b""), text("\t")], read)


def _imdb_wiki_mat(folder: Path) -> Case:
    import scipy.io

    from tfds_builders.imdb_wiki import dummy_tree, metadata

    faces = [dummy_tree.Face(f"0{k}/{k}_1981-05-05_2009.jpg", celeb_id=k + 1.0) for k in range(3)]
    content = dummy_tree.fields(faces, "imdb", ["Ada", "Bob", "Eve"])
    compressed = io.BytesIO()
    scipy.io.savemat(compressed, {"imdb": content}, do_compression=True)

    def read(content: bytes) -> None:
        found = metadata.read(content, database="imdb", name="imdb.mat")
        _opened(folder, list(found.paths))

    return Case([dummy_tree.mat(content, "imdb"), compressed.getvalue()], read)


def pictures() -> list[bytes]:
    """One picture of every format, and of unusual modes."""
    draw = np.random.default_rng(0)
    image = Image.fromarray(draw.integers(0, 256, (24, 32, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    sixteen = Image.fromarray(draw.integers(0, 65536, (9, 8)).astype(np.uint16))
    forms: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (image, "JPEG", {"exif": exif}), (image, "JPEG", {"progressive": True}),
        (image.convert("CMYK"), "JPEG", {}), (image, "PNG", {}), (image.convert("RGBA"), "PNG", {}),
        (image.quantize(16), "PNG", {"transparency": 3}), (sixteen, "PNG", {}), (image, "WEBP", {}),
        (image, "GIF", {"save_all": True, "append_images": [image]}), (image, "BMP", {}),
        (image, "TIFF", {"compression": "tiff_lzw"}), (image, "TIFF", {}), (image, "PPM", {}),
        (Image.fromarray(np.ones((5, 6), np.float32)), "TIFF", {}),
        (image.convert("YCbCr"), "TIFF", {}), *([(image, "AVIF", {})] if features.check("avif") else []),
    ]  # fmt: skip
    _, floats = cv2.imencode(".tif", np.asarray(image, np.float32) / 255)  # Pillow writes none
    found = [floats.tobytes()]
    for picture, form, options in forms:
        stream = io.BytesIO()
        picture.save(stream, form, **options)
        found.append(stream.getvalue())
    return found


def _photographs(folder: Path) -> Case:
    from ageflax.data import images

    def read(content: bytes) -> None:
        for interpolation in ("bilinear", "reduced"):
            images.square(content, 16, interpolation=interpolation)

    return Case(pictures(), read, (images.BadImageError,))


def _predict(folder: Path) -> Case:
    from ageflax.predict import Predictor
    from tests.support import small_bundle
    from tfds_builders.synthetic_faces import drawing, population

    predictor = Predictor(small_bundle.write(folder / "bundle"), detector="haar")
    portrait = drawing.photograph(population.populate(40, 0)[0], 0, size=96, seed=0)
    path = folder / "photo.jpg"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        predictor([path])

    return Case([portrait, *pictures()], read, (InputError, RunError))


def safetensors() -> bytes:
    """A small file with several dtypes, and int8 with scales."""
    from safetensors.numpy import save

    draw = np.random.default_rng(0)
    return save(
        {"a": draw.normal(size=(3, 4)).astype(np.float32), "b": np.arange(5),
         "c": draw.normal(size=6).astype(np.float16), "d": np.zeros((0, 2), np.float32),
         "w": np.arange(12, dtype=np.int8).reshape(4, 3), "scales/w": np.ones(3, np.float32)},
        {"format": "pt"},
    )  # fmt: skip


def _to_file(path: Path, reader: Callable[[Path], object]) -> Callable[[bytes], object]:
    def read(content: bytes) -> object:
        path.write_bytes(content)
        return reader(path)

    return read


def _safetensors(folder: Path) -> Case:
    from ageflax.weights.formats import safetensors as files

    return Case([safetensors()], _to_file(folder / "model.safetensors", files.read))


def _bundle(name: str) -> Callable[[Path], Case]:
    def make(folder: Path) -> Case:
        from ageflax.bundle import load
        from tests.support import small_bundle

        directory = small_bundle.write(folder / "bundle")
        small = small_bundle.write(folder / "small", storage={"precision": "int8"})
        samples = [(each / name).read_bytes() for each in (directory, small)]
        return Case(samples, _to_file(directory / name, lambda _: load(directory)))

    return make


def _foreign(framework: str, arch: str, crop: int, path: Path) -> Callable[[bytes], object]:
    from ageflax.import_weights import read as foreign

    return _to_file(path, lambda p: foreign.read(p, framework, arch, crop=crop))


def _caffemodel(folder: Path) -> Case:
    from tests.weights.formats import caffe_nets

    layers = caffe_nets.levi(1 / 96, crop=67)
    weights = caffe_nets.drawn(layers)
    seeds = [caffe_nets.caffemodel(layers, weights, version=version) for version in (1, 2)]
    return Case(seeds, _foreign("caffe", "levi_hassner", 67, folder / "net.caffemodel"))


def _binaryproto(folder: Path) -> Case:
    from ageflax.weights.formats import caffe
    from tests.weights.formats import caffe_nets

    seeds = [caffe_nets.mean_file(np.full((n, n, 3), 100, np.float32)) for n in (1, 8)]
    return Case(seeds, _to_file(folder / "mean.binaryproto", caffe.read_mean))


def _dlib(folder: Path) -> Case:
    from ageflax.weights.formats import dlib
    from tests.weights.formats import dlib_writer

    def drawn(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(0)
        return {name: rng.normal(size=s).astype(np.float32) for name, s in shapes.items()}

    seeds = [
        dlib_writer.network(dlib_writer.layers(drawn(dlib_writer.shapes(0.03)))),
        dlib_writer.gender_network(drawn(dlib_writer.gender_shapes(0.1))),
        dlib_writer.age_network(drawn(dlib_writer.age_shapes(0.03))),
    ]
    return Case(seeds, _to_file(folder / "net.dat", dlib.read))


def _foreign_model(folder: Path) -> Case:
    """A file of another program where a bundle is expected: told what it is, never read further."""
    from ageflax.bundle import loading

    seeds = [b"\x89HDF\r\n\x1a\n" + bytes(100), b"\0\0\0\0TFL3" + bytes(40), b"layer { name: 'a' }\n",
             b"\x08\x07\x12\x04onnx" + bytes(9), b"PK\x03\x04" + bytes(30) + b"a/data.pkl"]  # fmt: skip

    def read(content: bytes) -> None:
        path = folder / "net.model"
        path.write_bytes(content)
        try:
            loading.open_model(path)
        except InputError:
            if content not in seeds:
                raise

    return Case(seeds, read)


def _onnx_weights(folder: Path) -> Case:
    from onnx import TensorProto

    from tests.weights.formats import onnx_nets

    nets = [onnx_nets.vgg16(), onnx_nets.vgg16(constants="node")]
    models = [net.model(32) for net in nets]
    outside = []
    for place in ("../secret", str(folder.parent / "secret"), "link", "sub/../../secret"):
        model = onnx_nets.vgg16().model(32)
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=place)
        outside.append(model.SerializeToString())
    (folder / "link").symlink_to(folder.parent / "secret")
    return Case(
        [model.SerializeToString() for model in models],
        _foreign("onnx", "vgg16", 32, folder / "net.onnx"),
        hostile=outside,
    )


def _onnx_model(folder: Path) -> Case:
    from ageflax.bundle import load, loading
    from ageflax.export import write
    from tests.support import small_bundle

    path = folder / "model.onnx"
    write.export(load(small_bundle.write(folder / "bundle")), path)
    seed = path.read_bytes()

    def read(path: Path) -> None:
        model: Any = loading.open_model(path)
        model(np.zeros((2, 32, 32, 3), np.uint8))

    return Case([seed], _to_file(path, read), (InputError, RunError))


class _Payload:
    def __init__(self, function: Any, *arguments: Any):
        self._pair = function, arguments

    def __reduce__(self) -> Any:
        return self._pair


def payloads(folder: Path) -> list[bytes]:
    """Pickles that would run something."""
    command = f"touch {folder.parent / 'ran'}"
    called = [
        _Payload(os.system, command), _Payload(eval, f"__import__('os').system({command!r})"),
        _Payload(exec, "raise SystemExit"), _Payload(open, str(folder.parent / "ran"), "w"),
        _Payload(__import__, "antigravity"), _Payload(getattr, dict, "__subclasses__"),
    ]  # fmt: skip
    return [pickle.dumps({"weight": one}, protocol) for one in called for protocol in (0, 2, 4)]


def _torch(container: str) -> Callable[[Path], Case]:
    def make(folder: Path) -> Case:
        from tests.weights import foreign_states
        from tests.weights.formats import torch_writer

        write = torch_writer.CONTAINERS[container]
        state = {
            name: torch_writer.tensor(values) for name, values in foreign_states.resnet().items()
        }
        seeds = [write(state), write({"state_dict": state, "epoch": 3, "lr": 0.1, "best": None})]
        pickles = payloads(folder)
        hostile = [write(state, pickle_bytes=content) for content in pickles]
        reader = _foreign("torch", "resnet18", 32, folder / "model.pth")
        return Case(seeds, reader, hostile=hostile + pickles)

    return make


def _archive(mode: str) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # pyright: ignore[reportArgumentType, reportCallIssue]
        for name in ("wiki/wiki.mat", "wiki/00/1.jpg", "./wiki/00/2.jpg"):
            member = tarfile.TarInfo(name)
            member.size = 700
            archive.addfile(member, io.BytesIO(bytes(range(250)) * 3))
    return stream.getvalue()


def evil_archive(mode: str, folder: Path) -> bytes:
    """An archive of members outside the folder, links out of it and devices, each also under a wanted name."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # pyright: ignore[reportArgumentType, reportCallIssue]
        for name in ("../secret", "/etc/passwd", "wiki/../../secret", "wiki/wiki.mat", "a" * 3000):
            for kind in (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE,
                         tarfile.FIFOTYPE, tarfile.DIRTYPE):  # fmt: skip
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind, str(folder.parent / "secret")
                archive.addfile(member)
    return stream.getvalue()


def _tar(mode: str, name: str) -> Callable[[Path], Case]:
    def make(folder: Path) -> Case:
        from ageflax.data import images
        from ageflax.data.building import archives

        path = folder / name
        wanted = {"wiki/wiki.mat", "wiki/00/1.jpg", "wiki/00/2.jpg", "../secret", "/etc/passwd"}

        def read(path: Path) -> None:
            found = archives.read(path, wanted, folder=folder)
            for member in wanted:
                with contextlib.suppress(images.BadImageError):
                    assert guard.SECRET not in found.read(member)

        return Case([_archive(mode)], _to_file(path, read), hostile=[evil_archive(mode, folder)])

    return make


def _checkpoint(name: str) -> Callable[[Path], Case]:
    """A file of a checkpoint; all but the checksums are read without checksums, as from an earlier release."""

    def make(folder: Path) -> Case:
        from ageflax.training.checkpoints import Checkpoints
        from tests.training.test_checkpoints import state_of

        template = state_of(1)
        checkpoints = Checkpoints(folder / "checkpoints", say=lambda line: None)
        checkpoints.save(1, template, {"validation": {"exact": 0.5}}, 0.5)
        checkpoints.finish()
        path = folder / "checkpoints" / "1" / name
        if name != "sums.json":
            (folder / "checkpoints" / "1" / "sums.json").unlink()
        restore = _to_file(path, lambda _: checkpoints.restore(1, template))
        return Case([path.read_bytes()], restore, (RunError,))

    return make


def _config_words(folder: Path) -> Case:
    from ml_collections import ConfigDict

    from ageflax import config

    values = ConfigDict({"data": {"resize": 32, "crop": 27}, "model": {"width": 0.05}})
    seeds = [
        b"--config.data.resize=64\n--config.optim.learning_rate=1e-3\n--config.task=joint",
        b"--config.folds=(0, 2)\n--config.loss.weights=(('age', 2.0),)\n--config.data.mirror=false",
        b"--config.model.name=vgg16\n--config.model.head_hidden=(512, 100)\n--config.seed=3\n"
        b"--config.data.resize=64\n--config.data.crop=32",
        b"--config.data.label_policy=intervals\n--config.data.intervals=((0, 12), (13, 99))\n"
        b"--config.transfer.frozen=('trunk/.*',)\n--config.transfer.unfreeze=(('trunk/.*', 3),)",
        b"--config.data.eyes=((0.3, 0.4), (0.7, 0.4))\n--config.optim.lr_multipliers=(('a', 2),)",
    ]

    def read(content: bytes) -> None:
        # Decoded as the system decodes arguments that are not text; messages may repeat them.
        text = "".join(
            c for c in content.decode("utf-8", "surrogateescape") if c >= " " or c == "\n"
        )
        words = [word.replace("\x7f", "")[:1500] for word in text.split("\n")]
        config.resolve(values, words)

    return Case(seeds, read)


def _run(name: str) -> Callable[[Path], Case]:
    """A file of a finished run, read by the report and a comparison."""

    def make(folder: Path) -> Case:
        from ageflax import report
        from ageflax.evaluation.predictions_csv import read_predictions
        from ageflax.report import comparison
        from ageflax.report.comparison import text
        from ageflax.training.log import images_per_second
        from tests.support.finished_runs import write_run

        for run, seed in (("one", 0), ("other", 1)):
            write_run(folder / run, seed=seed)
        path = folder / "one" / name
        fold = path.parent

        def read(content: bytes) -> None:
            path.write_bytes(content)
            if name.endswith("predictions.csv"):
                for task in ("age", "gender", "years"):
                    with contextlib.suppress(RunError):
                        read_predictions(path, task)
            if name.endswith("metrics.jsonl"):
                images_per_second(fold)
            if name.endswith("metrics.jsonl"):
                report.write(folder / "one")
            elif name.endswith("predictions.csv"):
                text(comparison.compare([folder / "one", folder / "other"]))
            else:
                report.write(folder / "one")

        return Case([path.read_bytes()], read, (InputError, RunError))

    return make


KINDS: dict[str, Callable[[Path], Case]] = {
    "fold_files": _fold_files,
    "labels_csv": _labels_csv,
    "imdb_wiki_mat": _imdb_wiki_mat,
    "photographs": _photographs,
    "predict": _predict,
    "safetensors": _safetensors,
    "bundle_config": _bundle("config.json"),
    "bundle_weights": _bundle("model.safetensors"),
    "caffemodel": _caffemodel,
    "binaryproto": _binaryproto,
    "dlib": _dlib,
    "foreign_model": _foreign_model,
    "onnx_weights": _onnx_weights,
    "onnx_model": _onnx_model,
    "torch_zip": _torch("zip"),
    "torch_legacy": _torch("legacy"),
    "tar": _tar("w", "wiki.tar"),
    "tar_gz": _tar("w:gz", "wiki.tar.gz"),
    "checkpoint_sums": _checkpoint("sums.json"),
    "checkpoint_metadata": _checkpoint("state/_METADATA"),
    "config_words": _config_words,
    "run_summary": _run("summary.json"),
    "run_config": _run("config.json"),
    "run_result": _run("fold_0/result.json"),
    "run_predictions": _run("fold_0/predictions.csv"),
    "run_metrics": _run("fold_0/metrics.jsonl"),
}
