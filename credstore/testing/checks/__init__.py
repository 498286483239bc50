"""The contract of a driver as checks: plain async functions of a `Harness`.

They raise `ConformanceError` and never `assert`, which `python -O` removes. `DriverConformance`
runs them in pytest, `run_checks` without it. Where a capability is absent, a check is inverted: the
operation must then be refused before anything is sent.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from credstore.testing.checks import (
    calling,
    links,
    listing,
    managing,
    parts,
    reading,
    retaining,
    versions,
    writing,
)
from credstore.testing.harness import Harness

Check: TypeAlias = Callable[[Harness], Awaitable[None]]

CHECKS: tuple[Check, ...] = (
    writing.stores_bytes_exactly,
    writing.keeps_the_very_bytes,
    writing.stores_streams,
    writing.keeps_what_is_stored_beside,
    writing.keeps_odd_keys,
    writing.keeps_similar_keys_apart,
    writing.replaces_whole_versions,
    writing.creates_once,
    writing.replaces_only_the_named_version,
    writing.a_failing_source_changes_nothing,
    writing.a_short_body_is_refused,
    writing.a_cancelled_write_leaves_nothing,
    writing.two_drivers_see_one_store,
    reading.what_is_absent_is_not_found,
    reading.reads_ranges,
    reading.reads_the_last_bytes,
    reading.reads_only_the_named_version,
    reading.notices_changed_bytes,
    reading.costs_one_request_each,
    links.makes_links_or_refuses,
    links.makes_links_that_open,
    parts.sends_bodies_in_parts,
    parts.an_upload_cut_off_changes_nothing,
    parts.an_upload_cut_off_leaves_no_parts,
    parts.resumes_an_upload,
    parts.copies_in_parts,
    parts.keeps_tags_in_parts,
    parts.keeps_conditions_in_parts,
    listing.lists_all_objects_once,
    listing.lists_sizes_and_versions,
    listing.lists_on_while_objects_go,
    listing.lists_up_to_a_delimiter,
    listing.lists_up_to_any_delimiter,
    listing.lists_from_a_name_on,
    listing.lists_prefixes_without_what_is_below,
    managing.deletes_and_tells,
    managing.deletes_from_the_store,
    managing.deletes_only_the_named_version,
    managing.deletes_no_version_of_nothing,
    managing.deletes_many_with_an_outcome_each,
    managing.copies_everything,
    managing.copies_under_a_customer_key,
    managing.copies_the_version_it_was_shown,
    managing.copies_under_a_condition,
    managing.copies_onto_itself,
    versions.keeps_versions_apart,
    versions.removes_versions_for_good,
    versions.restores_a_version,
    versions.tells_what_keeps_a_version,
    versions.says_when_it_keeps_no_versions,
    retaining.keeps_what_is_retained,
    retaining.only_lengthens_a_retention,
    retaining.holds_until_released,
    retaining.locks_what_is_there,
    retaining.copies_without_the_lock,
    retaining.refuses_locks_it_has_not,
    managing.keeps_tags,
    calling.a_closed_driver_refuses_every_call,
    calling.a_forked_child_refuses_every_call,
    calling.a_passed_deadline_sends_nothing,
    calling.refuses_what_it_has_not,
    calling.refuses_to_copy_what_it_has_not,
    calling.refuses_versions_it_has_not,
)
