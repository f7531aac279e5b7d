"""DynamoDB tells nobody of a change: who waits for one looks again after a while."""

import asyncio


class Polling:
    def seen(self) -> int:
        return 0

    async def after(self, seen: int, seconds: float) -> None:
        await asyncio.sleep(seconds)
