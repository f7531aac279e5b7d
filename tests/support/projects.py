"""Projects as CrewAI's own command creates them, with the changes that a person would make."""

from contextlib import chdir
from pathlib import Path

from click.testing import CliRunner

WEATHER = """\
from crewai.tools import BaseTool


class Weather(BaseTool):
    name: str = "weather"
    description: str = "Tells the weather of a city."

    def _run(self, city: str) -> str:
        with open({looks!r}, "a") as looks:
            looks.write(city + "\\n")
        return f"rain in {{city}}"
"""
MCP_SERVER = """\
from mcp.server.fastmcp import FastMCP

server = FastMCP("weather")


def write_down(what: str) -> None:
    with open({looks!r}, "a") as looks:
        looks.write(what + "\\n")


@server.tool()
def weather(query: str) -> str:
    "Tells the weather."
    write_down(query)
    return f"rain for {{query}}"


write_down("started")
server.run()
"""
CHECKS = """\
from pydantic import BaseModel


class City(BaseModel):
    name: str


def checked(output):
    return True, output.raw.strip()
"""
FLOW = """\
from datetime import UTC, datetime
from pathlib import Path

from crewai import LLM, Agent
from crewai.flow import Flow, listen, persist, router, start
from pydantic import BaseModel, Field

import crewrelay
from {name}.crews.content_crew.content_crew import ContentCrew
from {name}.tools.weather import Weather


class Reader(BaseModel):
    name: str
    age: int | None = None


class ContentState(BaseModel):
    topic: str = Field("", description="What to write about", max_length=200)
    readers: list[Reader] = []
    outline: str = ""
    final_post: str = ""


def now() -> str:
    return datetime.now(UTC).isoformat()


@persist()
class ContentFlow(Flow[ContentState]):
    @start()
    def plan(self):
        known = f"{{self.state.topic}} for {{[reader.name for reader in self.state.readers]}} by {{self.state.id}}"
        self.state.outline = LLM(model="openai/gpt-4o-mini").call(f"Outline {{known}}, {{crewrelay.step('now', now)}}.")

    @router(plan)
    def route(self):
        return "outlined" if self.state.outline else "failed"

    @listen("outlined")
    def write(self):
        self.state.final_post = ContentCrew().crew().kickoff(inputs={{"topic": self.state.topic}}).raw

    @listen(write)
    async def look(self):
        agent = Agent(role="Forecaster", goal="Forecast.", backstory="You look up.", tools=[Weather()])
        self.state.final_post += (await agent.kickoff_async("Tell the weather.")).raw

    @listen(look)
    def save(self):
        Path("output").mkdir(exist_ok=True)
        with open("output/post.md", "w") as post:
            post.write(self.state.final_post)


def kickoff():
    ContentFlow().kickoff()
"""
DECLARED = """\
schema: crewai.flow/v1
name: Declared
state:
  type: json_schema
  json_schema:
    type: object
    properties:
      topic: {{type: string, description: What to write about}}
      readers: {{type: array, items: {{type: object, properties: {{name: {{type: string}}}}, required: [name]}}}}
    required: [topic]
methods:
  plan:
    start: true
    do:
      call: agent
      with:
        role: Planner
        goal: Plan.
        backstory: You plan.
        input: "Outline ${{state.topic}} for ${{state.readers}}."
  look:
    listen: plan
    do:
      call: crew
      with:
        agents:
          forecaster:
            {{role: Forecaster, goal: Forecast., backstory: You look up., tools: ["{name}.tools.weather:Weather"]}}
        tasks:
          - name: tell
            description: "Tell the weather for {{topic}}."
            expected_output: A sentence.
            agent: forecaster
      inputs:
        topic: "${{outputs.plan.raw}}"
"""

LITTLE_FLOW = """
from crewai import LLM, Agent, Crew, Task
from crewai.flow.flow import Flow, listen, start
from pydantic import BaseModel

class State(BaseModel):
    topic: str = "rain"

class Little(Flow[State]):
    @start()
    def begin(self):
        {step}
"""


def create(folder: Path, name: str, *options: str) -> Path:
    """Made by `crewai create`, in this process: in another, it imports for seconds."""
    from crewai_cli.cli import crewai

    home = folder / ".home"
    home.mkdir(parents=True, exist_ok=True)
    switches = {"CREWAI_DMN": "true", "CREWAI_DISABLE_TELEMETRY": "true", "CREWAI_TRACING_ENABLED": "false"}
    with chdir(folder):
        made = CliRunner().invoke(
            crewai, ["create", *options, name, "--skip-provider"], env=switches | {"HOME": str(home)}
        )
    assert made.exit_code == 0, made.output
    return folder / name


def classic(folder: Path, name: str) -> Path:
    """With a tool, a guardrail and output_pydantic."""
    project = create(folder, name, "crew", "--classic")
    package = project / "src" / name
    (package / "tools/weather.py").write_text(WEATHER.format(looks=str(looks_of(project))))
    (package / "checks.py").write_text(CHECKS)
    code = f"from {name}.checks import City, checked\nfrom {name}.tools.weather import Weather\n"
    edit(
        package / "crew.py",
        ("\n\n@CrewBase", f"\n{code}\n\n@CrewBase"),
        ("config=self.agents_config['researcher'],", "config=self.agents_config['researcher'], tools=[Weather()],"),
        ("config=self.tasks_config['research_task'],", "config=self.tasks_config['research_task'], guardrail=checked,"),
        ("output_file='report.md'", "output_file='report.md', output_pydantic=City"),
    )
    return project


def json_crew(folder: Path, name: str) -> Path:
    """With inputs, a tool, a guardrail and output_pydantic, and without the memory that it has at first."""
    project = create(folder, name, "crew")
    (project / "tools/weather.py").write_text(WEATHER.format(looks=str(looks_of(project))))
    (project / "checks.py").write_text(CHECKS)
    edit(project / "agents/researcher.jsonc", ('"tools": [],', '"tools": ["custom:weather"],'))
    more = (
        '"guardrail": {"python": "checks.checked"}, "output_pydantic": {"python": "checks.City"}, "agent": "researcher"'
    )
    edit(
        project / "crew.jsonc",
        ('"memory": true', '"memory": false'),
        ("Research current AI trends and", "Research {topic} in {year} for {reader} and"),
        ('"agent": "researcher"', more),
        (
            '"inputs": {}',
            '"inputs": {"topic": "AI // trends", "year": 2026, "draft": false, /* more */ "depths": [1, 2],}',
        ),
    )
    return project


def crew_with_mcp(folder: Path, name: str, looks: str = "") -> Path:
    """Of JSON, with an MCP server of its own, which writes down when it starts, and each call."""
    project = create(folder, name, "crew")
    (project / "server.py").write_text(MCP_SERVER.format(looks=looks or str(looks_of(project))))
    edit(project / "crew.jsonc", ('"memory": true', '"memory": false'))
    server = '"mcps": [{"command": "python", "args": ["server.py"]}], "settings": {'
    edit(project / "agents/researcher.jsonc", ('"settings": {', server))
    return project


def flow(folder: Path, name: str, looks: str = "") -> Path:
    """With nested inputs, a step of crewrelay's, a router, a tool, an agent without a crew, @persist and a file.
    `looks`: where its tool writes, if not into `looks_of` it.
    """
    project = create(folder, name, "flow")
    package = project / "src" / name
    (package / "tools/weather.py").write_text(WEATHER.format(looks=looks or str(looks_of(project))))
    (package / "main.py").write_text(FLOW.format(name=name))
    return project


def declared_flow(folder: Path, name: str, looks: str = "") -> Path:
    """With a declared state, an agent, and a crew with a tool; `looks` as above."""
    project = create(folder, name, "flow", "--declarative")
    package = project / "src" / name
    (package / "tools/__init__.py").write_text("")
    (package / "tools/weather.py").write_text(WEATHER.format(looks=looks or str(looks_of(project))))
    (package / "flow.yaml").write_text(DECLARED.format(name=name))
    return project


def little_flow(folder: Path, step: str, name: str, more: str = "") -> Path:
    """A flow of one step, written by hand."""
    package = folder / name / "src" / name
    package.mkdir(parents=True)
    (package / "main.py").write_text(LITTLE_FLOW.format(step=step) + more)
    (folder / name / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n[tool.crewai]\ntype = "flow"\n')
    return folder / name


def read_variables(project: Path, *names: str) -> Path:
    """Lets the project read these environment variables: each is a line of its pyproject.toml."""
    path = project / "pyproject.toml"
    listed = "".join(f'  "{name}",\n' for name in names)
    path.write_text(f"{path.read_text()}[tool.crewrelay]\nenv = [\n{listed}]\n")
    return project


def edit(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text()
    for before, after in changes:
        assert before in text, f"{path} has no {before}"
        text = text.replace(before, after)
    path.write_text(text)


def looks_of(project: Path) -> Path:
    """The file that its tool writes into: a line for each time it ran."""
    return project.parent / f"{project.name}.looks"
