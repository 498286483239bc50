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
    """Our median as a multiple of theirs."""
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
            known = peer != ours and name in peers[ours]
            cells.append(ratio(peers[ours][name], figures[name]) if known else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines
