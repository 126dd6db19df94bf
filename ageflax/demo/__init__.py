"""The page: a photograph or the camera in a browser, and a REST endpoint that answers the same.

`python -m ageflax.demo --model=MODEL` serves it; `application` is the ASGI application, for a server of
one's own.

What is named here is imported when it is first used: `python -m ageflax.demo --help`, which runs this
file, should not wait for JAX.
"""

from typing import TYPE_CHECKING

from ageflax.runtime import lazy

if TYPE_CHECKING:
    from ageflax.demo.app import application
    from ageflax.demo.limits import Limits

__all__ = ["Limits", "application"]

__getattr__ = lazy.attach(__name__, {"application": "app", "Limits": "limits"})
