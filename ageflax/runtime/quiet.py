"""Process-wide settings that quieten other libraries; commands apply them, imports never do."""

import logging
import os
import sys
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
    logging.getLogger("asyncio").addFilter(_not_of_a_save)
    in_thread, swallowed = threading.excepthook, sys.unraisablehook

    def hook(arguments: threading.ExceptHookArgs) -> None:
        """Leaves out Orbax's own threads, which die of the error that Checkpoints reports."""
        thread = arguments.thread
        known = issubclass(arguments.exc_type, OSError | ValueError)
        if not (known and thread is not None and "save" in thread.name):
            in_thread(arguments)

    def unraisable(arguments: "sys.UnraisableHookArgs") -> None:
        """Leaves out the writes of a failed save that find Orbax's event loop closed."""
        if str(arguments.exc_value) != "Event loop is closed":
            swallowed(arguments)

    if getattr(in_thread, "__module__", "") != __name__:
        threading.excepthook, sys.unraisablehook = hook, unraisable


def _not_of_a_save(record: logging.LogRecord) -> bool:
    """False for the errors of writes of a failed save, which Orbax's event loop logs."""
    return not (record.exc_info and isinstance(record.exc_info[1], OSError | ValueError))
