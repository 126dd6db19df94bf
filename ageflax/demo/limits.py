"""Limits on requests. Rates and connections are bounded by a proxy in front."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits on requests.

    Attributes:
      max_bytes: largest request.
      max_pixels: largest picture, or pictures of one request together; checked before decoding.
      max_pictures: most pictures in one request.
      upload_seconds: time for a request to arrive.
      concurrent: requests with pictures in progress, uploading or waiting.
    """

    max_bytes: int = 16_000_000
    max_pixels: int = 50_000_000
    max_pictures: int = 16
    upload_seconds: float = 20.0
    concurrent: int = 24
