"""Circumstances of a photograph: pose, mood, light, lens and film."""

import dataclasses
import math

import cv2
import numpy as np

from .canvas import Colour, rotation

# The neck's pivot, in body coordinates.
PIVOT = (0.0, 0.75)


@dataclasses.dataclass(frozen=True)
class Photograph:
    """Circumstances of a photograph.

    Attributes:
      yaw, pitch, roll: head pose, radians; positive turns right, down and clockwise.
      shift: float[2], position of the subject in unit coordinates.
      scale: size of the subject, 1 is the usual crop.
      smile: -0.5 sad to 1 happy.
      open: opening of the mouth, 0 to 1.
      eyelids: opening of the eyes, 0 (asleep) to 1.2.
      gaze: float[2], offset in irises.
      brow_lift: -1 frown to 1 surprise.
      light: float[2], direction of the light in the picture, shorter when frontal.
      warmth: -1 blue to 1 orange.
      exposure: factor on the brightness.
      contrast: factor around middle grey.
      noise: std, grey levels.
      blur: std, as a share of the picture's side.
      quality: quality of the JPEG file.
    """

    yaw: float
    pitch: float
    roll: float
    shift: np.ndarray
    scale: float
    smile: float
    open: float
    eyelids: float
    gaze: np.ndarray
    brow_lift: float
    light: np.ndarray
    warmth: float
    exposure: float
    contrast: float
    noise: float
    blur: float
    quality: int

    def body_frame(self) -> np.ndarray:
        """Affine map from body to unit coordinates, float[2, 3]."""
        return np.column_stack([np.eye(2) * self.scale, self.shift])

    def head_frame(self, middle: np.ndarray) -> np.ndarray:
        """Affine map from head to unit coordinates, float[2, 3].

        Args:
          middle: float[2], the head's centre without roll, in unit coordinates.
        """
        pivot = np.array(PIVOT)
        tilt = rotation(self.roll)
        place = (tilt @ (middle - pivot) + pivot) * self.scale + self.shift
        return np.column_stack([tilt * self.scale, place])


def compose(random: np.random.Generator) -> Photograph:
    """Draws the circumstances of a photograph, independent of the subject."""
    angle = random.random() * 2.0 * math.pi
    happy = random.random()
    return Photograph(
        yaw=float(np.clip(random.normal() * 0.20, -0.45, 0.45)),
        pitch=float(np.clip(random.normal() * 0.10, -0.22, 0.22)),
        roll=float(np.clip(random.normal() * 0.10, -0.28, 0.28)),
        shift=random.normal(size=2) * (0.04, 0.025),
        scale=float(np.clip(1.14 + random.normal() * 0.05, 1.0, 1.28)),
        smile=0.45 + 0.5 * random.random() if happy < 0.68 else random.random() * 0.6 - 0.28,
        open=float(random.random()) if random.random() < 0.35 else 0.0,
        eyelids=0.0 if random.random() < 0.03 else 0.86 + 0.26 * random.random(),
        gaze=random.normal(size=2) * (0.28, 0.12),
        brow_lift=float(np.clip(random.normal() * 0.4, -0.8, 1.0)),
        light=np.array([math.cos(angle), 0.5 * math.sin(angle) - 0.5]) * random.random() ** 0.5,
        warmth=float(random.normal() * 0.45),
        exposure=float(math.exp(random.normal() * 0.11 - 0.03)),
        contrast=float(0.84 + 0.34 * random.random()),
        noise=float(1.0 + 4.5 * random.random() ** 2),
        blur=float(0.0055 * random.random() ** 3),
        quality=int(random.integers(72, 96)),
    )


def develop(random: np.random.Generator, picture: np.ndarray, photo: Photograph) -> bytes:
    """Applies light, blur and grain to a drawn picture, and encodes it.

    Args:
      random: random numbers for the grain.
      picture: uint8[size, size, 3], RGB.
      photo: circumstances of the photograph.

    Returns:
      JPEG bytes.
    """
    size = len(picture)
    axis = np.linspace(-1.0, 1.0, size, dtype=np.float32)
    ramp = 1.0 + 0.13 * (photo.light[0] * axis[None, :] + photo.light[1] * axis[:, None])
    tint = photo.exposure * np.array(
        [1.0 + 0.07 * photo.warmth, 1.0 + 0.01 * photo.warmth, 1.0 - 0.09 * photo.warmth]
    )
    levels = picture * (ramp[..., None] * tint.astype(np.float32))
    levels = (levels - 120.0) * np.float32(photo.contrast) + np.float32(120.0)
    # Film keeps some detail in highlights, where a plain clip would lose it.
    levels -= np.float32(0.45) * np.maximum(levels - np.float32(205.0), 0.0)
    if photo.blur * size > 0.3:
        levels = cv2.GaussianBlur(levels, (0, 0), photo.blur * size)
    grain = random.standard_normal((size, size, 1), np.float32)
    grain = grain + np.float32(0.5) * random.standard_normal((size, size, 3), np.float32)
    levels += np.float32(photo.noise) * grain
    rgb = np.clip(levels, 0.0, 255.0).astype(np.uint8)
    done, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), (cv2.IMWRITE_JPEG_QUALITY, photo.quality)
    )
    if not done:
        raise RuntimeError("OpenCV could not encode a JPEG file")
    return encoded.tobytes()


def backdrop(random: np.random.Generator, size: int, palette: np.ndarray) -> np.ndarray:
    """Draws a background independent of the subject: a gradient with blobs, a disc or stripes.

    Args:
      random: random numbers.
      size: side of the picture, pixels.
      palette: float[n, 3], colours to choose from.

    Returns:
      uint8[size, size, 3], RGB.
    """
    pale = 0.25 + 0.5 * random.random()
    first, second, third = (_pastel(palette, random, pale) for _ in range(3))
    across, down = random.normal(size=2)
    axis = np.linspace(-0.5, 0.5, size)
    ramp = np.clip(0.5 + across * axis[None, :] + down * axis[:, None], 0.0, 1.0)[..., None]
    picture = (first + (second - first) * ramp).astype(np.uint8)
    kind = random.integers(5)
    colour = tuple(float(channel) for channel in third)
    if kind == 1:  # blobs of light, out of focus
        layer = picture.copy()
        for x, y, radius in random.random((6, 3)) * (size, size, 0.16 * size):
            cv2.circle(layer, (int(x), int(y)), int(2 + radius), colour, -1, cv2.LINE_AA)
        picture = cv2.GaussianBlur(cv2.addWeighted(layer, 0.6, picture, 0.4, 0.0), (0, 0), 1.5)
    elif kind == 2:  # a big disc behind the head
        centre = (int(size * (0.3 + 0.4 * random.random())), int(size * 0.45))
        cv2.circle(picture, centre, int(size * (0.3 + 0.2 * random.random())), colour, -1, 16)
    elif kind == 3:  # stripes
        step, slope = max(size // 6, 3), int(size * random.normal() * 0.4)
        for x in range(-size, 2 * size, 2 * step):
            cv2.line(picture, (x, 0), (x + slope, size), colour, step, cv2.LINE_AA)
        picture = cv2.addWeighted(picture, 0.5, cv2.blur(picture, (5, 5)), 0.5, 0.0)
    elif kind == 4:  # a window or a horizon
        level = int(size * (0.35 + 0.4 * random.random()))
        cv2.rectangle(picture, (0, level), (size, size), colour, -1)
        picture = cv2.GaussianBlur(picture, (0, 0), 1.0 + random.random())
    return picture


def _pastel(palette: np.ndarray, random: np.random.Generator, pale: float) -> Colour:
    colour = palette[random.integers(len(palette))] * (0.75 + 0.25 * random.random())
    return colour + (np.array([246.0, 240.0, 232.0]) - colour) * pale
