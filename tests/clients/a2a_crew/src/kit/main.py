"""A flow that does what A2A's compatibility kit asks of an agent."""

from typing import Any

from crewai import Agent, BaseLLM, Crew, Task
from crewai.flow.flow import Flow, start
from pydantic import BaseModel

import crewrelay

ANSWERS = {
    "tck-artifact-text": "Generated text content",
    "tck-artifact-data": '{"key": "value", "count": 42}',
}


class FixedModel(BaseLLM):
    def call(self, *arguments: Any, **options: Any) -> str:
        return "Generated file content"


class State(BaseModel):
    text: str = ""
    scenario: str = ""


class Kit(Flow[State]):
    @start()
    def work(self) -> str:
        scenario = self.state.scenario
        if scenario.startswith("tck-reject-task"):
            raise ValueError("rejected")
        if scenario.startswith("tck-input-required"):
            questions = ["What else?"]
            while crewrelay.ask(questions[-1]).startswith("TCK history message"):
                questions.append(f"What else, after {len(questions)} answers?")
        if scenario.startswith("tck-artifact-file"):
            writer = Agent(role="Writer", goal="Write.", backstory="You write.", llm=FixedModel(model="fixed"))
            task = Task(description="Write.", expected_output="A text.", agent=writer, output_file="output.txt")
            Crew(agents=[writer], tasks=[task]).kickoff()
            return ""
        return next((text for start, text in ANSWERS.items() if scenario.startswith(start)), "Hello from TCK")
