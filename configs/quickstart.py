"""The embedded default: faces drawn on the spot, all five folds, under two minutes on two cores.

    python -m ageflax.main --config=configs/quickstart.py

Nothing is downloaded. A narrow Levi-Hassner network with batch norm learns age group and gender of
600 drawn people, two pictures each; it shows that everything works, and says nothing about people.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.task = "joint"
    config.epochs = 16.0

    config.data = data = ConfigDict()
    # builder/people_P_photos_N_size_S_seed_K: any numbers will do.
    data.name = "synthetic_faces/people_600_photos_2_size_64_seed_0"
    data.resize = 64
    data.crop = 59
    # By ageflax.predict.framing over 600 drawn faces; not aligned, the eyes spread by 0.06.
    data.crop_margin = 0.385
    data.eyes = ((0.389, 0.498), (0.603, 0.506))
    data.batch_size = 32

    config.model = model = ConfigDict()
    model.name = "levi_hassner"
    model.width = 0.35
    model.norm = "batch"
    model.initialization = "matched"
    model.dropout = 0.3

    config.optim = optim = ConfigDict()
    optim.name = "adamw"
    optim.learning_rate = 2e-3
    optim.weight_decay = 0.01
    optim.schedule = "cosine"
    optim.lr_multipliers = ()
    optim.decay_exempt = (".*/bias", ".*/scale")

    config.eval = evaluation = ConfigDict()
    evaluation.every = 100
    evaluation.log_every = 20
    return config
