"""VGG-Face, its fully connected layers tuned: the VGG seed's best model.

    python -m ageflax.main --config=configs/vgg_face.py --config.transfer.weights=FILE.safetensors

FILE: VGG-Face (Parkhi et al. 2015; non-commercial) in Caffe's names, conv1_1.weight to fc7.bias. It sees
BGR, 0-255, less the mean of the faces it was trained on, which its authors give per channel; the mean of
the own training faces is a few values away. The seed reports 55 % for age and 91 % for gender on a
single hold-out. Not measured here. The same idea on weights that come in a package (extra: pretrained),
dlib's network of 3 million faces, its trunk frozen:

    python -m ageflax.main --config=configs/vgg_face.py --config.model.name=dlib_face_resnet \
      --config.model.dropout=None --config.transfer.weights=dlib_face_resnet \
      --config.transfer.frozen='("trunk/.*",)' --config.transfer.cache_features=true \
      --config.data.resize=150 --config.data.crop=150 --config.data.channels=rgb \
      --config.data.mean=dlib --config.data.deviation=dlib \
      --config.optim.lr_multipliers="()" --config.optim.decay_exempt="()"

On UTKFace (labeled_faces, label_policy=nearest, fold 0): 62.8 % exact, 89.8 % one-off (floors
40.3, 62.5).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.task = "age"
    config.steps = 10_000

    config.data = data = ConfigDict()
    data.name = "adience/aligned"
    data.label_policy = "strict"
    data.resize = 256
    data.crop = 224
    data.mean = "channel"
    data.channels = "bgr"
    data.batch_size = 32

    config.model = model = ConfigDict()
    model.name = "vgg16"
    model.dropout = 0.5

    config.transfer = transfer = ConfigDict()
    transfer.weights = "vgg_face.safetensors"
    transfer.reset = ("heads/.*",)
    transfer.frozen = ("trunk/conv.*",)

    config.optim = optim = ConfigDict()
    optim.name = "sgd"
    optim.learning_rate = 1e-3
    optim.momentum = 0.9
    optim.weight_decay = 5e-4
    optim.schedule = "step"
    optim.decay_every = 4_000
    optim.decay_factor = 0.1
    optim.lr_multipliers = (("heads/.*", 10.0),)
    optim.decay_exempt = (".*/bias",)

    config.eval = evaluation = ConfigDict()
    evaluation.crops = "center"
    evaluation.every = 500
    return config
