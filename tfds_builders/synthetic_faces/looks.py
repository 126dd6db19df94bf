"""Appearance of a subject: cues of age and gender, and features independent of both.

Each cue is drawn separately around the value that age or gender suggests, and sometimes contradicts it.
Skin, eyes, clothes, frames of glasses and backgrounds are independent of age and gender.
"""

import dataclasses
import math

import numpy as np

from .canvas import Colour

SKINS = np.array(
    [
        (255, 224, 200),
        (248, 208, 178),
        (238, 190, 152),
        (222, 168, 126),
        (198, 140, 100),
        (168, 112, 78),
        (134, 86, 60),
        (100, 64, 46),
    ],
    np.float64,
)
HAIRS = np.array(
    [
        (36, 28, 30),
        (62, 42, 36),
        (96, 62, 42),
        (134, 86, 52),
        (190, 146, 88),
        (226, 190, 122),
        (168, 82, 44),
    ],
    np.float64,
)
# One in fifteen has dyed hair.
DYES = np.array([(196, 92, 140), (86, 130, 176), (122, 84, 160), (70, 148, 132)], np.float64)
IRISES = np.array(
    [(84, 54, 38), (112, 76, 44), (98, 116, 72), (84, 128, 160), (110, 120, 126)], np.float64
)
CLOTHES = np.array(
    [
        (214, 84, 76),
        (236, 150, 70),
        (244, 202, 96),
        (104, 164, 112),
        (64, 142, 148),
        (74, 112, 172),
        (120, 92, 158),
        (214, 128, 156),
        (240, 236, 226),
        (72, 74, 88),
        (150, 156, 160),
    ],
    np.float64,
)

HAIRCUTS = ("wisps", "buzz", "swept", "fringe", "parted", "bob", "long", "bun", "tails", "curls")


@dataclasses.dataclass(frozen=True)
class Looks:
    """Appearance of a subject in all photographs.

    Attributes:
      child: 1 for a newborn's proportions, 0 for an adult's.
      old: 0 up to the early twenties, about 1 at eighty.
      jaw: 0 round, 1 square.
      neck: half-width as a share of the face's.
      eyes: size relative to an adult's.
      lips: fullness, 1 is average.
      brows: thickness, 1 is average.
      lashes: 0 not drawn, 1 long.
      forehead, crow, folds, bags: depth of the wrinkles there, 0 to 1.
      recede: 0 full hairline, 1 bald top.
      grey: share of the hair's colour that is lost.
      contrast: contrast between lips, eyes and skin, 1 in the young.
      accessory: "", "bow", "beanie" or "headband".
      side: 1 or -1, side of the parting.
      details: float[64] in [0, 1), for freckles, curls and other small features.
    """

    child: float
    old: float
    skin: Colour
    hair: Colour
    iris: Colour
    clothes: Colour
    second: Colour
    outfit: int
    face_width: float
    face_height: float
    cheeks: float
    jaw: float
    neck: float
    eyes: float
    eye_gap: float
    eye_tilt: float
    nose: float
    lips: float
    mouth: float
    brows: float
    brow_arch: float
    lashes: float
    makeup: float
    forehead: float
    crow: float
    folds: float
    bags: float
    recede: float
    grey: float
    contrast: float
    haircut: str
    curly: float
    volume: float
    beard: str
    glasses: str
    frames: Colour
    freckles: int
    spots: int
    earrings: bool
    accessory: str
    side: int
    details: np.ndarray


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    return a + (b - a) * share


def _unit(value: float) -> float:
    return min(max(value, 0.0), 1.0)


def _apparent_age(random: np.random.Generator, age: float) -> float:
    """Apparent age, years; the deviation from the true age grows with age."""
    return max(age + random.normal() * (0.1 + 0.02 * age), 0.0)


def imagine(random: np.random.Generator, *, age: float, male: bool) -> Looks:
    """Draws a subject's looks.

    Args:
      random: the subject's own random numbers.
      age: years.
      male: gender.
    """
    seen = _apparent_age(random, age)
    child = _unit(1.0 - seen / 24.0)
    old = _unit((seen - 24.0) / 54.0)
    # How masculine the whole face is; grown faces differ more than children's.
    spread = 0.44 - 0.22 * child
    manly = 0.5 + (spread if male else -spread) + random.normal() * 0.10
    skin, hair, skin_row = _colouring(random)
    grown = _unit((seen - 13.0) / 6.0)
    return Looks(
        child=child,
        old=old,
        skin=skin,
        hair=hair,
        iris=IRISES[random.integers(2 if skin_row > 3 else len(IRISES))],
        clothes=CLOTHES[random.integers(len(CLOTHES))],
        second=CLOTHES[random.integers(len(CLOTHES))],
        outfit=int(random.integers(5)),
        face_width=1.0 + random.normal() * 0.035,
        face_height=1.0 + random.normal() * 0.03,
        cheeks=_unit(0.25 + 0.6 * child + 0.2 * old + random.normal() * 0.12),
        jaw=_unit((manly * 0.9 + random.normal() * 0.14) * (1.0 - 0.75 * child)),
        neck=0.52 + 0.20 * manly * (1.0 - child) - 0.12 * child + random.normal() * 0.02,
        eyes=1.0 + 0.50 * child - 0.16 * old - 0.14 * (manly - 0.5) + random.normal() * 0.04,
        eye_gap=1.0 + random.normal() * 0.04,
        eye_tilt=random.normal() * 0.08 - 0.10 * old + 0.05,
        nose=1.0 - 0.48 * child + 0.20 * old + 0.16 * (manly - 0.5) + random.normal() * 0.06,
        lips=max(1.15 - 0.5 * manly - 0.40 * old + random.normal() * 0.12, 0.3),
        mouth=1.0 - 0.30 * child + random.normal() * 0.05,
        brows=max(0.55 + 0.85 * manly - 0.25 * child + random.normal() * 0.12, 0.25),
        brow_arch=_unit(0.75 - 0.6 * manly + random.normal() * 0.15),
        lashes=_unit(1.05 - 1.3 * manly + random.normal() * 0.15),
        makeup=_unit(1.1 - 1.6 * manly + random.normal() * 0.3) * grown,
        forehead=_unit(old * 1.6 - 0.14 + random.normal() * 0.04),
        crow=_unit(old * 1.6 - 0.16 + random.normal() * 0.04),
        folds=_unit(old * 1.6 - 0.08 + random.normal() * 0.04),
        bags=_unit(old * 1.4 - 0.08 + random.normal() * 0.06),
        recede=_recede(random, old, manly),
        grey=_unit((old - 0.24) * 2.0 + random.normal() * 0.14) * (random.random() > 0.12),
        contrast=1.0 - 0.5 * old + random.normal() * 0.05,
        haircut=_haircut(random, seen, manly),
        curly=float(random.random() ** 1.5),
        volume=0.8 + 0.5 * random.random(),
        beard=_beard(random, seen, manly),
        glasses=_glasses(random, old),
        frames=CLOTHES[random.integers(len(CLOTHES))] * 0.55,
        freckles=int(random.integers(8, 20)) if random.random() < 0.18 else 0,
        spots=_spots(random, seen),
        earrings=random.random() < 0.75 * _unit(0.9 - manly) * _unit((seen - 3.0) / 12.0) + 0.03,
        accessory=_accessory(random, seen, manly),
        side=1 if random.random() < 0.5 else -1,
        details=random.random(64),
    )


def _colouring(random: np.random.Generator) -> tuple[Colour, Colour, float]:
    """Skin and hair colours, and the (fractional) row of SKINS; independent of age and gender."""
    row = random.random() * (len(SKINS) - 1.001)
    skin = _mix(SKINS[int(row)], SKINS[int(row) + 1], row % 1.0) + random.normal(size=3) * 4.0
    fair = len(HAIRS) if row < 3.5 else 3
    hair = HAIRS[random.integers(fair)] + random.normal(size=3) * 6.0
    if random.random() < 1 / 15:
        hair = DYES[random.integers(len(DYES))]
    return skin, np.clip(hair, 12.0, 250.0), row


def _recede(random: np.random.Generator, old: float, manly: float) -> float:
    """Recession of the hairline: early in some men, moderate in most, rare in women."""
    fate = random.random()
    if manly < 0.5:
        return 0.25 * old * fate
    return _unit(old * (0.35 + 1.6 * fate**1.5))


def _haircut(random: np.random.Generator, seen: float, manly: float) -> str:
    if seen < 1.2 + random.random() * 2.2:
        return "wisps"
    #        wisps buzz  swept fringe parted bob  long  bun  tails curls
    his = (0.00, 0.20, 0.30, 0.17, 0.22, 0.03, 0.02, 0.01, 0.00, 0.05)
    hers = (0.00, 0.01, 0.04, 0.04, 0.05, 0.25, 0.28, 0.13, 0.12, 0.08)
    weights = _mix(np.array(hers), np.array(his), _unit(2.2 * manly - 0.6))
    weights[HAIRCUTS.index("tails")] *= 2.4 if seen < 13.0 else 0.25
    weights[HAIRCUTS.index("bun")] *= 0.6 + 0.02 * seen
    weights[HAIRCUTS.index("long")] *= 1.2 - 0.009 * seen
    return HAIRCUTS[random.choice(len(HAIRCUTS), p=weights / weights.sum())]


def _beard(random: np.random.Generator, seen: float, manly: float) -> str:
    """Facial hair: only on masculine faces, likelier the older a teenager is."""
    if random.random() > 0.62 * _unit((seen - 15.0) / 9.0) * _unit(3.0 * manly - 1.4):
        return ""
    return ("stubble", "moustache", "goatee", "full")[random.choice(4, p=(0.34, 0.2, 0.16, 0.3))]


def _glasses(random: np.random.Generator, old: float) -> str:
    if random.random() > 0.14 + 0.22 * old:
        return ""
    return ("round", "square", "oval")[random.integers(3)]


def _spots(random: np.random.Generator, seen: float) -> int:
    """Number of spots: pimples around seventeen, age spots from the fifties on."""
    if abs(seen - 17.0) < 3.5 and random.random() < 0.6:
        return int(random.integers(2, 6))
    if seen > 52.0 and random.random() < 0.5:
        return int(random.integers(2, 7))
    return 0


def _accessory(random: np.random.Generator, seen: float, manly: float) -> str:
    draw = random.random()
    if draw < 0.05:
        return "beanie"
    girlish = _unit(1.5 - 2.2 * manly)
    if seen < 12.0 and draw < 0.05 + 0.5 * girlish:
        return "bow"
    if draw < 0.06 + 0.12 * girlish * math.exp(-seen / 60.0):
        return "headband"
    return ""
