"""Subjects of a dataset: given for all faces, for some or for none."""

from collections.abc import Mapping
from typing import Any

from ageflax.data.dataset import Faces

# Start of the subject that a build names for a face without one.
_UNKNOWN = "face of "


def described(metadata: Mapping[str, Any], faces: Faces) -> dict[str, Any]:
    """The `subjects` object of a dataset's description.

    Args:
      metadata: metadata of the build; builds of earlier versions say nothing of subjects.
      faces: labels of the dataset.

    Returns:
      JSON: `given`, "all", "some" or "none"; `without`, number of faces without a subject; `notice`, a
      line for readers of the figures, "" if all faces have one.
    """
    if metadata.get("subjects_given") in ("all", "some", "none"):
        return {
            "given": metadata["subjects_given"],
            "without": metadata.get("without_subject", 0),
            "notice": metadata.get("subjects_notice", ""),
        }
    without = sum(subject.startswith(_UNKNOWN) for subject in faces.subjects.tolist())
    if not without:
        return {"given": "all", "without": 0, "notice": ""}
    some = without < len(faces)
    count = (
        f"{without:,} of {len(faces):,} faces have no subject" if some else "no face has a subject"
    )
    return {
        "given": "some" if some else "none",
        "without": without,
        "notice": f"{count}: each counts as a subject of its own, so one person may be in two folds",
    }
