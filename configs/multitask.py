"""The multi-task seed: age and gender from grey faces of IMDB-WIKI, two towers on shared convolutions.

    python -m ageflax.main --config=configs/multitask.py                 # joint
    python -m ageflax.main --config=configs/multitask.py --config.task=age --config.loss.balance=weights

30,000 mostly frontal faces, four age intervals, 128x128 grey, L2 and early stopping. The two trainable
parameters weigh the losses (Kendall et al. 2018); their course is in metrics.jsonl. The seed's figures
and the bounds of its intervals are in a paper of its own that is not at hand; the bounds here are ours.
Blank images are washed out by the dataset's config. Not measured here on IMDB-WIKI.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.task = "joint"
    config.epochs = 40.0

    config.data = data = ConfigDict()
    data.name = "imdb_wiki/imdb_wiki_washed"
    data.most_frontal = 30_000
    data.label_policy = "intervals"
    data.intervals = ((0, 25), (26, 35), (36, 50), (51, 100))
    data.resize = 128
    data.crop = 128
    data.interpolation = "area"
    data.channels = "grey"
    data.mean = "channel"
    data.deviation = "channel"
    data.batch_size = 64

    config.model = model = ConfigDict()
    model.name = "multitask_gray"
    model.head_hidden = (512, 100)
    model.head_dropout = 0.5

    config.loss = loss = ConfigDict()
    loss.balance = "uncertainty"

    config.optim = optim = ConfigDict()
    optim.name = "sgd"
    optim.learning_rate = 1e-2
    optim.momentum = 0.9
    optim.weight_decay = 5e-4
    optim.schedule = "constant"
    optim.lr_multipliers = ()
    optim.decay_exempt = (".*/bias",)

    config.eval = evaluation = ConfigDict()
    evaluation.checkpoint = "best"
    evaluation.every = 400
    evaluation.patience = 8
    return config
