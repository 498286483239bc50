"""Looking after a store that spreads its objects (`create_multi(..., strategy="LOAD_BALANCED")`)."""

from __future__ import annotations

from credstore.arguments import typed
from credstore.errors import StorageUnsupportedError
from credstore.provider.provider import StorageProvider
from credstore.provider.stored_form import session_of
from credstore.strategies.balanced.driver import BalancedDriver

__all__ = ["rebalance", "suggested_weights"]


@typed
async def rebalance(provider: StorageProvider, prefix: str = "", *, exclusive: bool = False) -> int:
    """Move the objects that are not where they belong, after a store was added or weights were changed.

    The store can be used meanwhile, by processes that have the same list of stores: reads find every object
    before, during and after its move. An object is copied to where it belongs, checked against its digest,
    only if nothing is there; then that very version is removed where it was. What is written or deleted
    meanwhile stays so, also if this is cut off at any point: what is left then is ended by the next call. A
    new store gets its share of the objects, and no others move.

    Args:
        provider: Of stores that share the objects.
        prefix: What the keys start with.
        exclusive: No one else writes meanwhile. Stores without conditional writes and deletes take part only
            then.

    Returns:
        How many objects were moved.

    Cost: a listing of each store; for each object that moves, a HEAD at each store and one more, a read, two
    writes and a delete.

    Raises:
        StorageUnsupportedError: The provider does not spread its objects; or a store has no conditions.
        StorageError: A store failed; the same call continues.
    """
    with session_of(provider).call("rebalance", None, mutation=True):
        return await _balanced(provider).rebalance(prefix, exclusive=exclusive)


@typed
def suggested_weights(provider: StorageProvider) -> dict[str, float]:
    """The `weights` by which faster stores would get more objects, from what this process has measured.

    Nothing changes by itself: where a key belongs must be the same for every process. Make all of them with
    the new weights, and call `rebalance`.

    Returns:
        By the label of the store, in their order; none is less than half of what it is now, or more than
        double.

    Raises:
        StorageUnsupportedError: The provider does not spread its objects.
    """
    return _balanced(provider).suggested_weights()


def _balanced(provider: StorageProvider) -> BalancedDriver:
    driver = session_of(provider).driver
    if not isinstance(driver, BalancedDriver):
        raise StorageUnsupportedError(
            "this store does not spread its objects; StorageFactory.create_multi(stores,"
            " strategy='LOAD_BALANCED') makes one that does"
        )
    return driver
