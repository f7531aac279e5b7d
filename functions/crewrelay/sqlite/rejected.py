"""Rejected lines of a file in the intake folder, in a file of their own, with the reason."""

import json
from pathlib import Path

from crewrelay.events.records import Record
from crewrelay.jobs.errors import CrewrelayError, Unavailable

INTAKE, DONE = "intake", "done"  # the folder's name, and that of the folder in it for files that are done


def rejected_of(folder: Path, file: str) -> Path:
    return folder / DONE / f"{file}.rejected"


class RejectedLines:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, record: Record, refusal: CrewrelayError) -> None:
        """Append the line's number and text, and why it is no job. Raises Unavailable."""
        said = {
            "line": record["attributes"].get("line"),
            "code": refusal.code,
            "reason": str(refusal),
            "body": record["body"],
        }
        path = rejected_of(self._folder, Path(record["attributes"].get("file", "messages")).name)
        try:
            with path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(json.dumps(said, ensure_ascii=False) + "\n")
        except OSError as error:
            raise Unavailable(f"A rejected line can't be written: {error.strerror}.") from error
