"""The stack as a process: it says what is wrong in a line, and leaves nothing behind."""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator

from tests.support.stack import (
    COMMAND,
    alive,
    children,
    children_running,
    environment,
    free_port,
    running_stack,
    serve_and_fail,
)
from tests.support.waiting import wait_until


def test_ctrl_c_stops_everything() -> None:
    """So does SIGTERM, by which every stack of these tests is stopped."""
    with running_stack() as stack:
        started = children(stack.process.pid)
        assert len(started) == 1  # the crew process
        stack.process.send_signal(signal.SIGINT)
        assert stack.process.wait(15) == 0
        assert not [pid for pid in started if alive(pid)]


@contextlib.contextmanager
def starting(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", set[int]]]:
    """A stack, and its crew process, which is still being imported."""
    command = [*COMMAND, "serve", "--port", "0", "--crews", "1", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())
    try:
        yield process, wait_until(lambda: children_running(process.pid, "crewrelay.local.crew"), within=60)
    finally:
        process.kill()
        process.communicate()


def test_children_end_with_a_parent_that_was_killed() -> None:
    with starting() as (process, crews):
        process.kill()
        wait_until(lambda: not [pid for pid in crews if alive(pid)], within=10)


def test_a_dead_emulator_ends_the_stack_loudly() -> None:
    with starting("--aws") as (process, crews):
        (emulator,) = children_running(process.pid, "crewrelay.local.emulator")
        os.kill(emulator, signal.SIGKILL)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 1
        assert "the AWS emulator ended" in errors
        assert not [pid for pid in crews if alive(pid)]


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        failed = serve_and_fail("--port", str(port))
    assert failed.returncode == 1
    assert failed.stderr.splitlines() == [
        f"crewrelay: can't listen on 127.0.0.1:{port}: Address already in use; choose another with --port"
    ]


def test_the_same_port_can_not_be_had_twice_even_at_once() -> None:
    port = str(free_port())
    command = [*COMMAND, "serve", "--port", port]
    pair = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment())
        for _ in range(2)
    ]
    try:
        wait_until(lambda: any(process.poll() is not None for process in pair), within=30)
        (loser,) = (process for process in pair if process.poll() is not None)
        _, errors = loser.communicate()
        assert loser.returncode == 1
        assert errors.count("\n") == 1
        assert "Address already in use" in errors
    finally:
        for process in pair:
            process.terminate()
            process.communicate(timeout=15)


def test_a_second_ctrl_c_ends_a_start_that_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        variables = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        credentials = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}
        command = [*COMMAND, "serve", "--port", "0"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment(**variables, **credentials))
        asking, _ = silent.accept()
        with asking:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1)
            process.send_signal(signal.SIGINT)
            assert process.wait(5) == 128 + signal.SIGINT
