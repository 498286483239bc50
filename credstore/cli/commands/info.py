"""`credstore stat`, `stats` and `health`: what is there, without its bytes."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import click

from credstore.cli.exits import Exit
from credstore.cli.options import Invocation, command
from credstore.cli.output import human_size, human_time, note, print_fields, print_json, printable
from credstore.cli.runner import with_store
from credstore.errors import StorageObjectNotFoundError
from credstore.model import HealthCheckResult, StorageItem, StorageStats

if TYPE_CHECKING:
    from credstore.provider.provider import StorageProvider


@command("stat")
@click.argument("key")
@click.pass_obj
def stat_command(invocation: Invocation, key: str) -> None:
    """Show what is known of the object KEY: sizes, digest, codec, headers, metadata."""

    async def action(provider: StorageProvider) -> StorageItem:
        item = await provider.get_metadata(key)
        if item is None:
            name = provider.get_provider_name()
            raise StorageObjectNotFoundError(
                "there is no such object", provider=name, operation="get_metadata", key=key
            )
        return item

    item = with_store(invocation, action, reading=True)
    if invocation.json:
        print_json(item)
        return
    rows = [("key", item.key), ("size", _size(item.size)), ("modified", human_time(item.last_modified))]
    facts = {
        "plain size": None if item.plain_size is None else _size(item.plain_size),
        "compression": item.compression,
        "dictionary": item.dictionary,
        "sha256": None if item.digest is None else item.digest.hex(),
        "etag": item.etag,
        "content type": item.content_type,
        "content encoding": item.content_encoding,
        "cache control": item.cache_control,
        "disposition": item.content_disposition,
        "language": item.content_language,
        "encryption": item.encryption,
        "client side": "encrypted" if item.client_side else None,
        "storage class": item.storage_class,
        "version": item.version_id,
        "served by": f"{item.served_by}, degraded" if item.degraded else item.served_by,
    }
    rows += [(name, value) for name, value in facts.items() if value]
    rows += [(f"metadata {printable(name)}", value) for name, value in (item.metadata or {}).items()]
    print_fields(rows)


@command("stats")
@click.argument("prefix", default="")
@click.pass_obj
def stats_command(invocation: Invocation, prefix: str) -> None:
    """Count the objects under PREFIX and their stored bytes, exactly."""

    async def action(provider: StorageProvider) -> tuple[StorageStats, str | None]:
        from credstore.provider.stored_form import session_of

        policy = session_of(provider).policy
        return await provider.get_stats(prefix), None if policy is None else policy.keyring.current_id

    stats, key_id = with_store(invocation, action, reading=True)
    if invocation.json:
        document = {field.name: getattr(stats, field.name) for field in fields(stats)}
        print_json(document if key_id is None else {**document, "wrapping_key_id": key_id})
        return
    rows = [("objects", f"{stats.total_objects:,}"), ("size", _size(stats.total_size))]
    rows += [("provider", stats.provider)]
    rows += [("region", stats.region)] if stats.region else []
    rows += [("encryption", f"before anything is sent, with the key {key_id}")] if key_id else []
    print_fields([*rows, ("counted", human_time(stats.last_updated))])


@command("health")
@click.pass_obj
def health_command(invocation: Invocation) -> None:
    """Check with one cheap request that the store responds; exit code 1 if it does not."""

    async def action(provider: StorageProvider) -> HealthCheckResult:
        if invocation.timeout is None:
            return await provider.health_check()
        return await provider.health_check(timeout=invocation.timeout)

    result = with_store(invocation, action, reading=True)
    if invocation.json:
        print_json(result)
    else:
        state = "healthy" if result.healthy else "unhealthy"
        print_fields(
            [
                ("provider", result.provider),
                ("state", state),
                ("latency", f"{result.latency:.1f} ms"),
                *((f"circuit to {host}", circuit) for host, circuit in result.circuits.items()),
            ]
        )
        for error in result.errors:
            note(f"credstore: {printable(error)}")
    if not result.healthy:
        raise click.exceptions.Exit(Exit.FAILURE)


def _size(size: int) -> str:
    return f"{human_size(size)} ({size:,} bytes)" if size >= 1000 else f"{size:,} bytes"  # noqa: PLR2004 - the first unit
