"""A doorbell that keeps what was rung."""

from datetime import timedelta

from crewrelay.jobs.errors import Unavailable


class MemoryDoorbell:
    """Records rings; when `out_of_order`, raises Unavailable as the queue does."""

    def __init__(self) -> None:
        self.rings: list[str] = []
        self.delays: list[timedelta] = []
        self.out_of_order = False
        self.depth = 0

    def waiting(self) -> int:
        if self.out_of_order:
            raise Unavailable("The queue did not answer.")
        return self.depth

    def ring(self, job_id: str, delay: timedelta = timedelta()) -> None:
        if self.out_of_order:
            raise Unavailable("The queue did not answer.")
        self.rings.append(job_id)
        self.delays.append(delay)
