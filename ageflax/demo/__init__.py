"""The web page for photographs and the camera, and its REST endpoint.

`python -m ageflax.demo` serves it; `application` makes the ASGI application, for a server
of your own.

Public names are imported at first use: `python -m ageflax.demo --help` runs this file and should not
wait for JAX.
"""

from typing import TYPE_CHECKING

from ageflax.runtime import lazy

if TYPE_CHECKING:
    from ageflax.demo.app import application
    from ageflax.demo.limits import Limits

__all__ = ["Limits", "application"]

__getattr__ = lazy.attach(__name__, {"application": "app", "Limits": "limits"})
