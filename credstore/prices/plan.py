"""What an operation takes, and what that costs. Pure.

Requests are counted as the drivers make them when nothing fails. Where a strategy is around the store, its
own requests are part of the plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from credstore.errors import StorageInvalidRequestError
from credstore.prices.table import NOT_FREE, Price, price_of

Kind = Literal["write", "read", "free"]
Verb = Literal["store", "retrieve", "get_metadata", "exists", "delete", "copy", "list"]
VERBS: tuple[Verb, ...] = get_args(Verb)
PART_SIZE = 8 * 2**20
"""Bytes of a part where the store has no such setting."""
MONTH = 30.0
"""Days of a month."""
_WRITES = frozenset(
    {
        "BeginUpload",
        "CompleteMultipartUpload",
        "CopyBlob",
        "CopyObject",
        "CreateMultipartUpload",
        "InsertObject",
        "PatchObject",
        "PutBlob",
        "PutBlobFromURL",
        "PutBlock",
        "PutBlockFromURL",
        "PutBlockList",
        "PutObject",
        "PutObjectTagging",
        "RewriteObject",
        "SendChunk",
        "UploadPart",
        "UploadPartCopy",
    }
)
_FREE = ("Delete", "Abort", "Cancel", "BlobBatch", "Batch")


def kind_of(request: str) -> Kind:
    """What a request over the wire is billed as.

    Args:
        request: The provider's name of it, as in `VerbMetrics.requests`.
    """
    if request in _WRITES or request.startswith(("List", "Put", "Set")):
        return "write"
    return "free" if request.startswith(_FREE) else "read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a store.

    Attributes:
        cloud: Name of its row in the registry.
        label: What to call it.
        part_from: Bytes from which a body is sent in parts; None where it never is.
        part_size: Bytes of a part.
        dedup: Whether equal bodies are stored once.
        cached: Whether there is a local cache.
        tags: Whether objects have tags.
    """

    cloud: str
    label: str
    part_from: int | None = None
    part_size: int = PART_SIZE
    dedup: bool = False
    cached: bool = False
    tags: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Requests of one kind that an operation makes.

    Attributes:
        what: What they do, in words.
        kind: What they are billed as.
        count: How many there are.
        cost: Dollars for all of them; None where the price is not known.
    """

    what: str
    kind: Kind
    count: int
    cost: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The plan of an operation, and its bill in US dollars; None where a price is not known.

    Attributes:
        verb: The operation.
        size: Bytes.
        store: Label of the store that does it.
        steps: Requests, in order.
        requests: What they cost together.
        transfer: What egress and retrieval cost.
        storage: What it costs to keep the object for `days`, or for as long as it is billed at least.
        total: All of it.
        days: How long the object is kept.
        price: The row of the price table, with its date and source; None where nothing is billed, or nothing
            is known.
        notes: What else there is to know.
    """

    verb: Verb
    size: int
    store: str
    steps: tuple[Step, ...]
    requests: float | None
    transfer: float | None
    storage: float | None
    total: float | None
    days: float
    price: Price | None
    notes: tuple[str, ...] = ()


def explained(
    facts: Facts, verb: Verb, size: int, *, storage_class: str | None = None, days: float = MONTH
) -> Explanation:
    """The plan and the bill of one operation.

    Args:
        facts: Of the store.
        verb: The operation.
        size: Stored bytes of the object; for "list", the number of objects.
        storage_class: Of what is written; None for the default.
        days: How long what is written is kept.

    Raises:
        StorageInvalidRequestError: The verb is unknown, or a number is negative.
    """
    if verb not in VERBS:
        raise StorageInvalidRequestError(f"{verb!r} cannot be explained; choose one of {', '.join(VERBS)}")
    if size < 0 or not days >= 0:
        raise StorageInvalidRequestError("size and days are 0 or more")
    free = facts.cloud not in NOT_FREE
    price = None if free else price_of(facts.cloud, storage_class)
    steps = tuple(
        Step(what=what, kind=kind, count=count, cost=0.0 if free else _requests(price, kind, count))
        for what, kind, count in _planned(facts, verb, size)
    )
    writes = verb in {"store", "copy"}
    moved = size if verb == "retrieve" else 0
    requests = _total(each.cost for each in steps)
    transfer = 0.0 if free or not moved else _transfer(price, moved)
    storage = 0.0 if free or not writes else _storage(price, size, days)
    return Explanation(
        verb=verb,
        size=size,
        store=facts.label,
        steps=steps,
        requests=requests,
        transfer=transfer,
        storage=storage,
        total=_total((requests, transfer, storage)),
        days=days,
        price=price,
        notes=tuple(_notes(facts, verb, price, free=free, days=days)),
    )


def _planned(facts: Facts, verb: Verb, size: int) -> Iterable[tuple[str, Kind, int]]:
    shared = facts.dedup and size >= 4096  # noqa: PLR2004 - from which a body is shared
    if verb == "store":
        if shared:
            yield "look for an equal body", "write", 2
        yield from _sent(facts, size)
        if shared:
            yield "refer to it", "write", 1
    elif verb == "retrieve":
        if facts.cached:
            yield "ask whether the cached version is current", "read", 1
        else:
            yield "read", "read", 2 if shared else 1
    elif verb in {"get_metadata", "exists"}:
        yield "look at it", "read", 1
    elif verb == "delete":
        yield "delete", "free", 1
    elif verb == "copy":
        if shared:
            yield "look whether its body may be referred to", "write", 1
        yield "look at the source, its tags, and the copy", "read", 3 if facts.tags else 2
        yield "copy inside the store", "write", 1
    else:
        yield "list up to 1,000 names each", "write", max(1, -(-size // 1000))
        if facts.dedup:
            yield "look at each reference, at most", "read", size


def _sent(facts: Facts, size: int) -> Iterable[tuple[str, Kind, int]]:
    if facts.part_from is None or size < facts.part_from:
        yield "write", "write", 1
        return
    part = max(facts.part_size, -(-size // 10_000))
    yield "begin an upload in parts", "write", 1
    yield "send the parts", "write", -(-size // part)
    yield "complete it", "write", 1


def _requests(price: Price | None, kind: Kind, count: int) -> float | None:
    if kind == "free":
        return 0.0
    if price is None:
        return None
    return count * (price.writes if kind == "write" else price.reads) / 1000


def _transfer(price: Price | None, size: int) -> float | None:
    return None if price is None else size / price.unit * (price.egress + price.retrieval)


def _storage(price: Price | None, size: int, days: float) -> float | None:
    if price is None:
        return None
    return max(size, price.least_size) / price.unit * price.storage * max(days, price.least_days) / MONTH


def _total(costs: Iterable[float | None]) -> float | None:
    total = 0.0
    for each in costs:
        if each is None:
            return None
        total += each
    return total


def _notes(facts: Facts, verb: Verb, price: Price | None, *, free: bool, days: float) -> Iterable[str]:
    if free:
        yield "nothing is billed by this store"
        return
    if price is None:
        yield "no price of this store could be confirmed, so what it costs is not known"
        return
    if price.monthly:
        yield f"{price.monthly:.2f} a month are due in any case, with {price.included:,} GB of storage"
    if verb == "retrieve" and price.free_egress:
        free_up_to = f"{price.free_egress:g} times what is stored"
        yield f"egress is free up to {free_up_to}, which is not taken into account"
    if verb in {"store", "copy"} and price.least_days > days:
        yield f"an object is billed for {price.least_days} days at least"
    if verb == "store" and facts.dedup:
        yield "a body that is there already is neither sent nor billed again"
    if verb == "retrieve" and facts.cached:
        yield "what is not in the cache, or has changed, is read, and egress is billed only then"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What the calls of one provider in this process cost so far, in US dollars.

    Attributes:
        provider: Its label.
        requests: By kind, how many there were.
        request_cost: What they cost; None where the price is not known.
        egress: Bytes that were read.
        egress_cost: What their egress and retrieval cost; None where the price is not known.
        total: Both.
        price: The row of the price table, with its date and source, or None.
        members: The bills of several stores as one; each has its own price, and `price` is None then.
    """

    provider: str
    requests: Mapping[Kind, int]
    request_cost: float | None
    egress: int
    egress_cost: float | None
    total: float | None
    price: Price | None
    members: tuple[Bill, ...] = ()


def together(label: str, bills: Sequence[Bill]) -> Bill:
    """The bill of several stores as one.

    Args:
        label: Of all of them.
        bills: Of each.
    """
    kinds: dict[Kind, int] = {"write": 0, "read": 0, "free": 0}
    for bill in bills:
        for kind, count in bill.requests.items():
            kinds[kind] += count
    return Bill(
        provider=label,
        requests=kinds,
        request_cost=_total(bill.request_cost for bill in bills),
        egress=sum(bill.egress for bill in bills),
        egress_cost=_total(bill.egress_cost for bill in bills),
        total=_total(bill.total for bill in bills),
        price=None,
        members=tuple(bills),
    )


def billed(facts: Facts, requests: Mapping[str, int], egress: int) -> Bill:
    """The bill of what was counted.

    Args:
        facts: Of the store.
        requests: Over the wire, by the provider's name.
        egress: Bytes that were read over the wire.
    """
    free = facts.cloud not in NOT_FREE
    price = None if free else price_of(facts.cloud)
    kinds: dict[Kind, int] = {"write": 0, "read": 0, "free": 0}
    for name, count in requests.items():
        kinds[kind_of(name)] += count
    request_cost = 0.0 if free else _total(_requests(price, kind, count) for kind, count in kinds.items())
    egress_cost = 0.0 if free or not egress else _transfer(price, egress)
    return Bill(
        provider=facts.label,
        requests=kinds,
        request_cost=request_cost,
        egress=egress,
        egress_cost=egress_cost,
        total=_total((request_cost, egress_cost)),
        price=price,
    )
