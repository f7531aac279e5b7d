"""How the methods of CrewAI's classes are wrapped, so that a call goes to the journal of its run: see ambient.py.

Outside of a run a call is what it was. Classes that are defined later are wrapped, too.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def subclasses(cls: Any) -> Iterator[Any]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


def wrap(cls: type, name: str, wrapper: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    method = vars(cls).get(name)
    if callable(method) and not hasattr(method, "_journaled"):
        wrapped: Any = wrapper(method)
        wrapped._journaled = True
        setattr(cls, name, wrapped)


async def on_a_thread(call: Callable[[Callable[[Coroutine[Any, Any, Any]], Any]], T]) -> T:
    """The journal blocks, so it is asked on a thread. `call` is given what runs a coroutine on the loop of here."""
    loop = asyncio.get_running_loop()
    return await asyncio.to_thread(call, lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result())
