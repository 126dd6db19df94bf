"""ViT-B/16 with FaRL's face pre-training, the best start for age in the one comparison with fair splits.

    python -m ageflax.main --config=configs/vit.py --config.data.manual_dir=FOLDER
    python -m ageflax.main --config=configs/vit.py --config.transfer.frozen="('trunk/.*',)" \
      --config.transfer.cache_features=true --config.optim.learning_rate=1e-3       # a head in minutes

FOLDER: labelled faces (tfds_builders/labeled_faces/README.md). Published on UTKFace: 3.87 years with an
MLP on FaRL, 4.38 for ResNet-50 from ImageNet (Paplham & Franc, CVPR 2024). Not measured here: the hub
could not be reached. CLIP's own weights fit too: timm/vit_base_patch16_clip_quickgelu_224.openai.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.task = "years+gender"
    config.epochs = 20.0

    config.data = data = ConfigDict()
    data.name = "labeled_faces/faces"
    # How the images frame a face: by ageflax.predict.framing over 600 of UTKFace's, which spread by
    # 0.025 and 0.024. Measure your own.
    data.crop_margin = -0.066
    data.eyes = ((0.294, 0.281), (0.678, 0.286))
    data.label_policy = "nearest"
    data.resize = 240
    data.crop = 224
    data.interpolation = "area"
    data.mean = "clip"
    data.deviation = "clip"
    data.channels = "rgb"
    data.batch_size = 64

    config.model = model = ConfigDict()
    model.name = "vit_b16"
    model.head_hidden = (512,)
    model.head_dropout = 0.2
    model.drop_path = 0.1

    config.transfer = transfer = ConfigDict()
    transfer.weights = "Green-Sky/FaRL-Base-Patch16-LAIONFace20M-ep64"
    transfer.reset = ("heads/.*",)

    config.loss = loss = ConfigDict()
    loss.years = "label_distribution"
    loss.deviation = 2.5

    config.optim = optim = ConfigDict()
    optim.name = "adamw"
    optim.learning_rate = 5e-4
    optim.weight_decay = 0.05
    optim.schedule = "cosine"
    optim.warmup_steps = 500
    optim.clip_norm = 1.0
    optim.lr_multipliers = (("trunk/.*", 0.05),)
    optim.decay_exempt = (
        ".*/bias",
        ".*/scale",
        ".*/class_token",
        ".*/position_embedding",
    )

    config.eval = evaluation = ConfigDict()
    evaluation.crops = "mirror"
    evaluation.checkpoint = "best"
    evaluation.every = 250
    return config
