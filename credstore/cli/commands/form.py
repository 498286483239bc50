"""`credstore form`."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import click

from credstore.cli.options import Invocation, as_duration, as_size, command
from credstore.cli.output import human_size, human_time, note, print_json, say
from credstore.cli.runner import with_store
from credstore.model import UploadForm

if TYPE_CHECKING:
    from credstore.provider.provider import StorageProvider
    from credstore.provider.upload_forms import UploadFormOptions


@command("form")
@click.argument("key")
@click.option(
    "--below", is_flag=True, help="KEY is what the key starts with, and the name of the file follows it."
)
@click.option(
    "--max-size", metavar="SIZE", required=True, callback=as_size, help="Most that an upload may have."
)
@click.option(
    "--min-size",
    metavar="SIZE",
    default="0",
    show_default=True,
    callback=as_size,
    help="Least that it may have.",
)
@click.option("--content-type", metavar="TYPE", help="That the object is stored with, whatever it is.")
@click.option(
    "--expires",
    metavar="DURATION",
    default="1h",
    show_default=True,
    callback=as_duration,
    help="How long it works, 1s to 7d.",
)
@click.pass_obj
def form_command(
    invocation: Invocation,
    *,
    key: str,
    below: bool,
    max_size: int,
    min_size: int,
    content_type: str | None,
    expires: float,
) -> None:
    """Print an HTML form with which a browser uploads one file straight to the bucket.

    The store refuses what is larger, of another type, for another key, or late. Whoever has the form has
    this access: it is printed here and nowhere else.
    """
    options: UploadFormOptions = {"min_size": min_size, "expires_in": expires}
    if content_type is not None:
        options["content_type"] = content_type

    async def action(provider: StorageProvider) -> UploadForm:
        if below:
            return await provider.get_upload_form(prefix=key, max_size=max_size, **options)
        return await provider.get_upload_form(key, max_size=max_size, **options)

    form = with_store(invocation, action)
    if invocation.json:
        print_json({"url": form.url, "fields": dict(form.fields), "expires_at": form.expires_at})
        return
    say(_html(form))
    if not invocation.quiet:
        note(f"up to {human_size(max_size)} until {human_time(form.expires_at)}")


def _html(form: UploadForm) -> str:
    hidden = [
        f'  <input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in form.fields.items()
    ]
    return "\n".join(
        (
            f'<form action="{escape(form.url)}" method="post" enctype="multipart/form-data">',
            *hidden,
            '  <input type="file" name="file" required>',
            '  <button type="submit">Upload</button>',
            "</form>",
        )
    )
