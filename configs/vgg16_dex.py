"""DEX: VGG-16 for years of age by expected value, then fine-tuned to Adience's groups.

    # 1. From ImageNet to the 101 years of IMDB-WIKI (fold 4 kept for testing).
    python -m ageflax.main --config=configs/vgg16_dex.py --workdir=runs/dex_years
    # 2. From there to the eight groups of Adience, over five folds.
    python -m ageflax.main --config=configs/vgg16_dex.py --workdir=runs/dex_adience --config.task=age \
      --config.data.name=adience/aligned --config.data.label_policy=strict --config.data.placement=auto \
      --config.steps=2400 --config.eval.protocol=cross_validation \
      --config.transfer.weights=runs/dex_years/fold_4

Published on Adience for these two steps: 64.0 +- 4.2 % exact, 96.6 +- 0.9 % one-off (Rothe et al.); by
the best replication 63.0 and 96.0. Not measured here: licensed images, 138 million parameters.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.task = "years"
    config.steps = 100_000

    config.data = data = ConfigDict()
    data.name = "imdb_wiki/imdb_wiki"
    data.label_policy = "nearest"
    data.resize = 256
    data.crop = 224
    data.mean = "channel"
    data.channels = "bgr"
    data.batch_size = 10
    data.placement = "stream"

    config.model = model = ConfigDict()
    model.name = "vgg16"
    model.dropout = 0.5

    config.transfer = transfer = ConfigDict()
    transfer.weights = "timm/vgg16.tv_in1k"
    transfer.reset = ("heads/.*",)

    config.loss = loss = ConfigDict()
    loss.years = "cross_entropy"

    config.optim = optim = ConfigDict()
    optim.name = "sgd"
    optim.learning_rate = 1e-4
    optim.momentum = 0.9
    optim.weight_decay = 5e-4
    optim.schedule = "step"
    optim.decay_every = 10_000
    optim.decay_factor = 0.7
    optim.lr_multipliers = (("heads/.*", 10.0),)
    optim.decay_exempt = (".*/bias",)

    config.eval = evaluation = ConfigDict()
    evaluation.protocol = "hold_out"
    evaluation.crops = "center"
    evaluation.every = 2_000
    return config
