"""The programs outside of Python that open links: nginx as an edge, curl and Chromium as readers."""

import asyncio
import contextlib
import html
import os
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp


def program(*names: str) -> str:
    """The path of an installed program."""
    for name in names:
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
        if found is not None:
            return found
    raise AssertionError(f"{names[0]} is not installed; run `make test-system`, which installs it")


def curl(*arguments: str, cwd: Path | None = None) -> bytes:
    """What curl prints; past any proxy and any settings of this machine's user."""
    command = [program("curl"), "--disable", "--noproxy", "*", "--silent", "--show-error", "--max-time", "60"]
    done = subprocess.run([*command, *arguments], capture_output=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def status(url: str, *arguments: str) -> int:
    """The status that curl gets."""
    return int(curl("--output", os.devnull, "--write-out", "%{http_code}", *arguments, url))


# What the operator of such an edge writes. The store's own directory is not for the public; objects
# below gzip/ are stored compressed, which nginx cannot know by itself.
_NGINX = """
{user}
daemon off;
worker_processes 1;
pid {place}/nginx.pid;
error_log {place}/error.log warn;
events {{ worker_connections 64; }}
http {{
    access_log off;
    server_tokens off;
    types {{ application/json json; }}
    client_body_temp_path {place}/body;
    proxy_temp_path {place}/proxy;
    fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi;
    scgi_temp_path {place}/scgi;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        secure_link $arg_md5,$arg_expires;
        secure_link_md5 "$secure_link_expires$uri {secret}";
        location /.credstore {{ return 404; }}
        location / {{
            if ($secure_link = "") {{ return 403; }}
            if ($secure_link = "0") {{ return 410; }}
        }}
        location /gzip/ {{
            if ($secure_link = "") {{ return 403; }}
            if ($secure_link = "0") {{ return 410; }}
            add_header Content-Encoding gzip;
        }}
    }}
}}
"""


@contextmanager
def running_nginx(root: Path, place: Path, secret: str, listener: socket.socket) -> Iterator[None]:
    """nginx with secure_link over the files below `root`, until the block ends.

    It inherits the listening socket, so connections wait for it and no port is guessed.

    Args:
        root: What it serves.
        place: An empty directory for itself.
        secret: Of its links.
        listener: Closed here.
    """
    nginx = program("nginx")
    built = subprocess.run([nginx, "-V"], capture_output=True, text=True, check=True).stderr
    assert "http_secure_link_module" in built, "this nginx lacks secure_link; Debian's nginx-light has it"
    user = "user root;" if os.geteuid() == 0 else ""
    config = place / "nginx.conf"
    port = listener.getsockname()[1]
    config.write_text(_NGINX.format(place=place, port=port, user=user, root=root, secret=secret))
    with listener:
        listener.set_inheritable(True)
        process = subprocess.Popen(
            [nginx, "-c", str(config), "-p", str(place), "-e", str(place / "error.log")],
            env={**os.environ, "NGINX": f"{listener.fileno()};"},
            pass_fds=[listener.fileno()],
            stderr=subprocess.DEVNULL,
        )
    try:
        yield
    except AssertionError as error:
        error.add_note((place / "error.log").read_text())
        raise
    finally:
        process.terminate()
        process.wait(600)


def _chromium(profile: Path) -> list[str]:
    """Headless, with a profile of its own, and no service it would call by itself."""
    return [
        program("chromium", "chromium-browser", "google-chrome"),
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--no-default-browser-check",
        "--no-proxy-server",
        f"--user-data-dir={profile}",
    ]


def shown_by_chromium(url: str, profile: Path) -> str:
    """The text of the page that Chromium makes of a link."""
    done = subprocess.run(
        [*_chromium(profile), "--dump-dom", url], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return html.unescape(re.sub(r"<[^>]*>", "", done.stdout))


@asynccontextmanager
async def _devtools(profile: Path) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """Chromium's own connection for programs (Chrome DevTools Protocol), on loopback."""
    process = await asyncio.create_subprocess_exec(
        *_chromium(profile),
        "--remote-debugging-port=0",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(120):
            address = None
            while address is None:
                line = await process.stderr.readline()
                assert line, "Chromium ended"
                address = re.search(rb"DevTools listening on (ws://\S+)", line)
        drain = asyncio.create_task(process.stderr.read())
        async with aiohttp.ClientSession() as session, session.ws_connect(address[1].decode()) as socket_:
            yield socket_
            await socket_.send_json({"id": 99, "method": "Browser.close"})
            await drain
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()


async def saved_by_chromium(url: str, profile: Path, into: Path) -> str:
    """The name under which Chromium saves what a link gives; the file is in `into`."""
    async with asyncio.timeout(180), _devtools(profile) as devtools:
        behaviour = {"behavior": "allow", "downloadPath": str(into), "eventsEnabled": True}
        await devtools.send_json({"id": 1, "method": "Browser.setDownloadBehavior", "params": behaviour})
        await devtools.send_json({"id": 2, "method": "Target.createTarget", "params": {"url": url}})
        name = ""
        async for message in devtools:
            event: dict[str, Any] = message.json()
            assert "error" not in event, event
            if event.get("method") == "Browser.downloadWillBegin":
                name = event["params"]["suggestedFilename"]
            if event.get("method") == "Browser.downloadProgress":
                state = event["params"]["state"]
                assert state in {"inProgress", "completed"}
                if state == "completed":
                    break
        return name
