"""Process-wide settings that quieten other libraries; commands apply them, imports never do."""

import logging
import os
import threading
import warnings

_VARIABLES = {
    # A damaged file is reported once, by ageflax. OpenCV reads these as it is imported.
    "OPENCV_LOG_LEVEL": "SILENT",
    "OPENCV_FFMPEG_LOGLEVEL": "-8",
    # A playlist may name other files and addresses; only the file itself is read.
    "OPENCV_FFMPEG_CAPTURE_OPTIONS": "protocol_whitelist;file",
}


def process() -> None:
    """Quietens the libraries that this process may load; nothing is imported for it.

    Variables that are already set stay as they are.
    """
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
    # Pillow warns about sizes, palettes and EXIF that ageflax.data.images checks itself.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    # Orbax logs every save, and the traceback of a full disk, which Checkpoints reports in a line.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    before = threading.excepthook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        """Leaves out Orbax's own threads, which die of the error that Checkpoints reports."""
        thread = arguments.thread
        known = issubclass(arguments.exc_type, OSError | ValueError)
        if not (known and thread is not None and "save" in thread.name):
            before(arguments)

    if getattr(before, "__module__", "") != __name__:
        threading.excepthook = hook
