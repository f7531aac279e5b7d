"""The local stack's crew process, in which crews on the topic `spin` never come back."""

from crewrelay.crews.running.runner import CrewRunner
from crewrelay.jobs.ports import Calls
from crewrelay.jobs.records.answer import Answer
from crewrelay.jobs.records.job import JobInput
from crewrelay.local.crew import main


def _spin() -> None:
    while True:
        pass


def _patch() -> None:
    run = CrewRunner.run

    def spinning(self: CrewRunner, job_input: JobInput, calls: Calls) -> Answer:
        if job_input.inputs["topic"] == "spin":
            _spin()
        return run(self, job_input, calls)

    CrewRunner.run = spinning  # type: ignore[method-assign]


if __name__ == "__main__":
    _patch()
    main()
