"""Web servers on loopback that answer with bytes as they are, and names that lead to them."""

import asyncio
import ssl
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from ossia.tools.browser.fetcher import Fetcher, WebOptions

PUBLIC, PRIVATE = "127.0.0.1", "127.0.0.2"
"""Two addresses of loopback: one plays the public net, the other what must not be reached."""


def page(content, *more, kind="text/html", status="200 OK"):
    body = content.encode() if isinstance(content, str) else content
    head = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join((*head, "", "")).encode() + body


def redirect(to, status=302):
    return page("", f"Location: {to}", status=f"{status} Found")


@dataclass
class Site:
    """What a server was asked, and where it is."""

    port: int = 0
    num_connections: int = 0
    requests: list[str] = field(default_factory=list)

    @property
    def paths(self):
        return [head.split(" ")[1] for head in self.requests]


@asynccontextmanager
async def serving(answer, host=PUBLIC, *, port=0, tls=None):
    """A server: `answer(path)` gives bytes, or an asynchronous generator of them."""
    site = Site()

    async def serve(reader, writer):
        site.num_connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            site.requests.append(head)
            answered = answer(head.split(" ")[1])
            if isinstance(answered, bytes):
                writer.write(answered)
            else:
                async for part in answered:
                    writer.write(part)
                    await writer.drain()
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, host, port, ssl=tls)
    site.port = server.sockets[0].getsockname()[1]
    async with server:
        yield site


def names(**known):
    """A resolver that knows these names (a_b stands for a.b) and counts what it is asked."""
    requests = []

    async def resolve(host, port):
        requests.append(host)
        places = known[host.replace(".", "_")]
        return places(len(requests)) if callable(places) else places

    resolve.requests = requests
    return resolve


def fetcher_for(*sites, resolve=None, tls=None, **options):
    """A fetcher for which PUBLIC is the public net, on the ports of these sites."""
    ports = frozenset(site.port for site in sites)
    return Fetcher(
        WebOptions(ports=ports, **options),
        resolve=resolve or names(good_example=[PUBLIC], bad_example=[PRIVATE]),
        permits=lambda address: address == PUBLIC,
        tls=tls or ssl.create_default_context(),
    )
