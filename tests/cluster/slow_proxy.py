"""Passes TCP connections on, and delays what the clients say.

python -m tests.cluster.slow_proxy PORT TO_PORT FILE

FILE has the delay in seconds, and is read again for everything that comes. What has been said
arrives in its order; the answers are not delayed.
"""

import asyncio
import contextlib
import sys
from pathlib import Path


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: Path | None
) -> None:
    """Until the one side or the other is gone. What comes waits in a queue for its time."""
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    clock = asyncio.get_running_loop().time

    async def write() -> None:
        while True:
            due, data = await waiting.get()
            if not data:
                break
            await asyncio.sleep(due - clock())
            writer.write(data)
            await writer.drain()
        writer.close()

    writing = asyncio.create_task(write())
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            waiting.put_nowait((clock() + (float(delay.read_text()) if delay else 0.0), data))
    waiting.put_nowait((clock(), b""))
    with contextlib.suppress(ConnectionError):
        await writing


async def _serve(port: int, to_port: int, delay: Path) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", to_port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pass_on(reader, to_writer, delay), _pass_on(to_reader, writer, None))

    server = await asyncio.start_server(connected, "0.0.0.0", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])))
