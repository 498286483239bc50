"""`credstore link`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from credstore.cli.options import Invocation, as_duration, command
from credstore.cli.output import human_time, note, print_json, printable, say
from credstore.cli.runner import with_store
from credstore.model import Method, SignedUrl

if TYPE_CHECKING:
    from credstore.provider.links import LinkOptions
    from credstore.provider.provider import StorageProvider


@command("link")
@click.argument("key")
@click.option(
    "--expires",
    metavar="DURATION",
    default="1h",
    show_default=True,
    callback=as_duration,
    help="How long it works, 1s to 7d.",
)
@click.option(
    "--method",
    type=click.Choice(["GET", "HEAD", "PUT", "DELETE"], case_sensitive=False),
    default="GET",
    show_default=True,
    help="What its holder may do.",
)
@click.option("--download-name", metavar="NAME", help="Browsers save the object as a file with this name.")
@click.option(
    "--content-type", metavar="TYPE", help="GET: the type to respond with. PUT: what its holder must send."
)
@click.pass_obj
def link_command(
    invocation: Invocation,
    *,
    key: str,
    expires: float,
    method: Method,
    download_name: str | None,
    content_type: str | None,
) -> None:
    """Print a link that works without credentials until it expires.

    Whoever has the link has the access it grants: it is printed here and nowhere else.
    """
    options: LinkOptions = {}
    if download_name is not None:
        options["download_name"] = download_name
    if content_type is not None:
        options["content_type"] = content_type

    async def action(provider: StorageProvider) -> SignedUrl:
        return await provider.get_signed_url(key, expires, method, **options)

    link = with_store(invocation, action)
    if invocation.json:
        facts = {"method": link.method, "headers": link.headers, "expires_at": link.expires_at}
        print_json({"key": key, "url": str(link), **facts})
        return
    say(str(link))
    if not invocation.quiet:
        note(f"{link.method} until {human_time(link.expires_at)}")
    for name, value in link.headers.items():
        note(f"its holder must send the header {printable(name)}: {printable(value)}")
