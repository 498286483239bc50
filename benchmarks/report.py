"""Results as Markdown: medians with their spread, and ratios."""

import statistics
from collections.abc import Mapping, Sequence

Figures = dict[str, list[float]]
"""A figure's name to its values, one for each round."""


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The median, lowest and highest."""
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Ours as a multiple of theirs: the median of the rounds' ratios, or of the medians if rounds are missing."""
    found = paired(ours, theirs)
    if found:
        return f"{statistics.median(found):.2f}x"
    least = statistics.median(theirs)
    return f"{statistics.median(ours) / least:.2f}x" if least else ""


def comparison(
    peers: Mapping[str, Figures], ours: str, names: Mapping[str, str], digits: int = 0
) -> list[str]:
    """A table of peers: each figure, and our own as a multiple of it.

    Args:
        peers: By name.
        ours: The name of our own client among them.
        names: Of the figures, and as they are shown.
        digits: After the point.
    """
    heads = "".join(f" {shown} | {ours} is |" for shown in names.values())
    lines = [f"| |{heads}", "|---|" + "---|---|" * len(names)]
    for peer, figures in peers.items():
        cells = [peer]
        for name in names:
            if name not in figures:
                cells += ["", ""]
                continue
            cells.append(spread(figures[name], digits))
            known = peer != ours and name in peers.get(ours, {})
            cells.append(ratio(peers[ours][name], figures[name]) if known else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def paired(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """The ratio of each round, in which both took turns; empty where one has none or missed a round."""
    whole = len(ours) == len(theirs) and all(theirs)
    return [mine / other for mine, other in zip(ours, theirs, strict=True)] if whole else []


def checked(by: Mapping[str, str]) -> str:
    """A line that says what is checked in a table, and by whom."""
    return (
        "What is checked, and by whom: " + "; ".join(f"**{name}**: {what}" for name, what in by.items()) + "."
    )
