"""The model that ships with the package, ageflax/bundle/default: faces_age on the faces of UTKFace.

    python -m ageflax.main --config=configs/default_model.py --config.fold=0 \
      --config.data.manual_dir=FOLDER --workdir=runs/default_model
    # Stored in few bits (float16 if that stays below 8 MB), compared with float32 on FACES.
    SMALL="--model=runs/default_model/fold_0 --format=bundle --precision=int8 --verify=FACES \
      --terms=ageflax/bundle/default/LICENSE --output=ageflax/bundle/default"
    python -m ageflax.export $SMALL
    # Figures of the stored weights, on people never trained on and on whole photographs from elsewhere.
    python -m ageflax.evaluate --config.data.manual_dir=FOLDER --output=runs/default_test
    python -m ageflax.evaluate --photos=PHOTOGRAPHS --output=runs/default_elsewhere
    python -m ageflax.export $SMALL --figures=runs/default_test/result.json \
      --figures=runs/default_elsewhere/result.json
    python -m tests.golden.make_default_model

The second export writes the same weights, byte for byte, and a card with the figures. Figures and
calibrations that later versions add need no new training: the first command, with

      --config.transfer.weights=default --config.steps=0

and then all that follows it. FOLDER holds
labels.csv and the faces of UTKFace (README.md, "Your own photographs"), FACES is a folder of some of
them, PHOTOGRAPHS one with a labels.csv of its own.
"""

from ml_collections import ConfigDict

BASE = "faces_age.py"


def get_config() -> ConfigDict:
    return ConfigDict()
