"""Rejected lines of files in the intake folder, in a file beside each, with the reason."""

import json
from pathlib import Path

from crewrelay.events.records import Record
from crewrelay.jobs.errors import CrewrelayError, Unavailable

INTAKE = "intake"  # the folder's name
_ENDING = ".rejected"


class RejectedLines:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, record: Record, refusal: CrewrelayError) -> None:
        """Append to `<file>.rejected`: the line's number and text, and why it is no job. Raises Unavailable."""
        said = {
            "line": record["attributes"].get("line"),
            "code": refusal.code,
            "reason": str(refusal),
            "body": record["body"],
        }
        path = self._folder / f"{Path(record['attributes'].get('file', 'messages')).name}{_ENDING}"
        try:
            with path.open("a") as file:
                file.write(json.dumps(said, ensure_ascii=False) + "\n")
        except OSError as error:
            raise Unavailable(f"{path} can't be written: {error}") from error
