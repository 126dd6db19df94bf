"""The transfer seed: ResNet-34 from ImageNet, first its head alone, then all of it.

    python -m ageflax.main --config=configs/resnet34.py
    python -m ageflax.main --config=configs/resnet34.py --config.transfer.unfreeze="()" \
      --config.transfer.cache_features=true         # the body frozen to the end: a head in seconds
    python -m ageflax.main --config=configs/resnet34.py --config.transfer.weights=   \
      --config.transfer.frozen="()" --config.transfer.unfreeze="()"                 # from scratch

The weights come from the hub, or from a file: --config.transfer.weights=FILE.safetensors. Published on
Adience's frontal folds with the body frozen: 53.4 +- 4.5 % exact, 89.1 +- 2.0 % one-off. Not measured
here: Adience's images are licensed, and the hub could not be reached. The same from ImageNet's weights
that come in a package (extra: pretrained):

    python -m ageflax.main --config=configs/resnet34.py --config.model.name=efficientnet_lite0 \
      --config.transfer.weights=efficientnet_lite0 --config.data.mean=efficientnet_lite \
      --config.data.deviation=efficientnet_lite --config.transfer.unfreeze="()" \
      --config.transfer.cache_features=true --config.optim.lr_multipliers="()"

With 128 of 144 pixels and 2,000 steps on UTKFace (labeled_faces, fold 0, label_policy=nearest), the body
frozen: 59.7 % exact (floor 40.3), 85.8 % one-off (62.5).
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.task = "age"
    config.steps = 6_000

    config.data = data = ConfigDict()
    data.name = "adience/aligned"
    data.label_policy = "strict"
    data.resize = 256
    data.crop = 224
    data.interpolation = "area"
    data.mean = "imagenet"
    data.deviation = "imagenet"
    data.channels = "rgb"
    data.batch_size = 64

    config.model = model = ConfigDict()
    model.name = "resnet34"

    config.transfer = transfer = ConfigDict()
    transfer.weights = "timm/resnet34.tv_in1k"
    transfer.reset = ("heads/.*",)
    transfer.frozen = ("trunk/.*",)
    transfer.unfreeze = (("trunk/layer4_.*", 1_000), ("trunk/.*", 2_000))

    config.optim = optim = ConfigDict()
    optim.name = "adamw"
    optim.learning_rate = 1e-3
    optim.weight_decay = 0.01
    optim.schedule = "cosine"
    # The body learns at a tenth of the head's rate, its first layers at a hundredth.
    optim.lr_multipliers = (
        ("heads/.*", 1.0),
        ("trunk/(conv1|bn1|layer1_.*|layer2_.*)/.*", 0.01),
        ("trunk/.*", 0.1),
    )
    optim.decay_exempt = (".*/bias", ".*/scale")

    config.eval = evaluation = ConfigDict()
    evaluation.crops = "mirror"
    evaluation.checkpoint = "best"
    evaluation.every = 250
    return config
