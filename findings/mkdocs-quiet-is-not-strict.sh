#!/bin/sh
# One would guess that `mkdocs build --strict --quiet` says less and fails as often. It does not fail at all over
# warnings: what --strict counts is what its log handler sees, and --quiet lets the logger pass errors alone, so
# a page with a link to nowhere aborts the build without --quiet and is published with it, exit code 0. Whoever
# runs a silent docs build in CI has no link check, and does not learn it.
# Seen 2026-11-30 with mkdocs 1.6.1, Python 3.11.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check mkdocs==1.6.1

mkdir "$work/docs"
printf 'site_name: links\n' >"$work/mkdocs.yml"
printf '# Start\n\nSee [the other page](other.md).\n' >"$work/docs/index.md"
cd "$work"

said() {
    if venv/bin/mkdocs build "$@" >/dev/null 2>&1; then echo built; else echo refused; fi
}

strict=$(said --strict)
quiet=$(said --strict --quiet)
echo "with --strict: $strict; with --strict --quiet: $quiet"
[ "$strict" = refused ]
[ "$quiet" = built ]
[ -f site/index.html ]
