"""Years of age and gender from one's own labelled faces: the best recipe known here without a GPU.

    python -m ageflax.main --config=configs/faces_age.py --config.data.manual_dir=FOLDER

FOLDER holds labels.csv and the photographs (tfds_builders/labeled_faces/README.md). A ResNet-18 of half
width with a stem for small inputs learns a label distribution over years (DLDL) and gender from scratch.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.task = "years+gender"
    config.epochs = 16.0

    config.data = data = ConfigDict()
    data.name = "labeled_faces/faces"
    data.label_policy = "nearest"
    data.resize = 88
    data.crop = 80
    data.interpolation = "area"
    data.channels = "rgb"
    data.mean = "channel"
    data.deviation = "channel"
    data.validation_fraction = 0.05
    data.batch_size = 64
    data.rotation = 8.0
    data.zoom = 0.08
    data.erasing = 0.2

    config.model = model = ConfigDict()
    model.name = "resnet18"
    model.stem = "small"
    model.width = 0.5

    config.loss = loss = ConfigDict()
    loss.years = "label_distribution"
    loss.deviation = 2.5
    loss.expectation = 0.05
    loss.weights = (("gender", 0.5),)

    config.optim = optim = ConfigDict()
    optim.name = "adamw"
    optim.learning_rate = 2e-3
    optim.weight_decay = 0.05
    optim.schedule = "one_cycle"
    optim.ema = 0.999
    optim.lr_multipliers = ()
    optim.decay_exempt = (".*/bias", ".*/scale")

    config.eval = evaluation = ConfigDict()
    evaluation.crops = "mirror"
    evaluation.every = 500
    evaluation.batch_size = 256
    return config
