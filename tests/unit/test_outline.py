"""The tasks of a crew and which of them ask a human, read without importing anything of it."""

from pathlib import Path

from crewrelay.catalogue.outline import Outline, outline_of

FLOW = """
from crewai.flow.flow import Flow, listen, router, start
from crewai.flow.human_feedback import human_feedback
import crewrelay

class Report(Flow):
    @start()
    def begin(self): return self.helper()

    def helper(self): return 1

    @router(begin)
    @human_feedback(message="Good?", emit=["a", "b"])
    def review(self): return 2

    @listen("a")
    async def name(self): return self.ask("Your name?")

    @listen("b")
    def choose(self): return crewrelay.ask("Which?")
"""
CREW = """
from crewai import Task
from crewai.project import CrewBase, task

@CrewBase
class Writers:
    @task
    def draft(self) -> Task: return Task(config=self.tasks_config["draft"])

    @task
    def review(self) -> Task: return Task(config=self.tasks_config["review"], human_input=True)

    @task
    def print(self) -> Task: return Task(config=self.tasks_config["print"], human_input=False)
"""
TASKS = "draft: {expected_output: a, human_input: true}\nreview: {expected_output: b}\n"


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_the_steps_of_a_flow(tmp_path: Path) -> None:
    steps = ("begin", "review", "name", "choose")
    assert outline_of(written(tmp_path, src__main_dot_py=FLOW)) == Outline(steps, steps[1:])


def test_the_tasks_of_a_crew_in_code_and_yaml(tmp_path: Path) -> None:
    folder = written(tmp_path, src__a__config__tasks_dot_yaml=TASKS, src__a__crew_dot_py=CREW)
    assert outline_of(folder) == Outline(("draft", "review", "print"), ("draft", "review"))


def test_the_tasks_of_a_json_crew(tmp_path: Path) -> None:
    two = '{"name": "two", "expected_output": "b", "human_input": true}'
    tasks = f'{{"tasks": [{{"name": "one", "expected_output": "a"}}, {two}]}}'
    assert outline_of(written(tmp_path, crew_dot_jsonc=f"// a crew\n{tasks}")) == Outline(("one", "two"), ("two",))


def test_the_steps_of_a_declarative_flow(tmp_path: Path) -> None:
    flow = "methods:\n  plan: {start: true, human_feedback: {message: Good?}}\n  write: {listen: plan}\n"
    assert outline_of(written(tmp_path, flow_dot_yaml=flow)) == Outline(("plan", "write"), ("plan",))


def test_what_can_not_be_read_is_left_out(tmp_path: Path) -> None:
    folder = written(tmp_path, a_dot_py="def (", b_dot_yaml="a: [", c_dot_jsonc="{", tests__d_dot_py=FLOW)
    assert outline_of(folder) == Outline()
