"""Under which tag a number of an evaluation is logged."""

import re
from collections.abc import Mapping
from typing import Any

from embviz_callback.analysis.metrics.catalogue import HEADLINE, shown
from embviz_callback.files import safe_name

PREFIX = "embviz"
_DETAIL = "detail"
SET_NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")
_TAKEN = ("snapshots", "page-data", "jobs", "in-use", "untrained", "evaluation", "detail")
_FIRST = frozenset((*shown(HEADLINE), "alert"))


def prefix_of(name: str) -> str:
    """What stands before the slash in the tags of one of several callbacks, and the name of its folder.

    Args:
        name: That the user gave it; empty for the only one.

    Returns:
        ``embviz``, or ``embviz_<name>``.

    Raises:
        ValueError: If another's details stand under that name.

    Example:
        >>> prefix_of(""), prefix_of("short")
        ('embviz', 'embviz_short')
    """
    if not name:
        return PREFIX
    found = f"{PREFIX}_{safe_name(name)}"
    if found.endswith(f"_{_DETAIL}"):
        raise ValueError(f"name must not be or end with {_DETAIL!r}, under which details are logged, got {name!r}")
    return found


def set_names(data: Any, sets: Mapping[str, Any] | None) -> tuple[str, ...]:
    """What sets are called; names that cannot stand in a tag, or as a folder beside those of evaluations, are refused.

    Args:
        data: Given instead of sets.
        sets: Name to data, or None.

    Returns:
        The names; an empty one for the only one.

    Raises:
        ValueError: If both are given, there is none, or a name cannot be used.
    """
    if sets is None:
        return ("",)
    if data is not None:
        raise ValueError("give data or sets, not both")
    if not sets:
        raise ValueError("sets must hold at least one set, got none")
    for name in sets:
        if not SET_NAME.fullmatch(name) or name in _TAKEN or name.startswith("epoch_"):
            raise ValueError(f"the name of a set must be of letters, digits, - and _, and not our own, got {name!r}")
    return tuple(sets)


def scalar_tag(prefix: str, name: str) -> str:
    """The tag of a number in a logger: what is looked at first under the prefix, all else under its details.

    TensorBoard shows a card for each tag, grouped by what stands before the slash: among 37 the few that matter drown.
    Monitors (`trainer.callback_metrics`) find every number under the prefix.

    Args:
        prefix: From `prefix_of`; of one of several sets with its name behind a slash.
        name: Of a metric, or ``alert``, ``blocked_s``, ``overhead``, ``margin_threshold``; the set's may stand here.

    Returns:
        ``<prefix>/<name>`` for the headline and the alert, else ``<prefix>_detail/<name>``.

    Example:
        >>> scalar_tag("embviz", "margin"), scalar_tag("embviz_x", "blocked_s"), scalar_tag("embviz/faq", "map")
        ('embviz/margin', 'embviz_x_detail/blocked_s', 'embviz_detail/faq/map')
    """
    first, _, within = f"{prefix}/{name}".partition("/")
    return f"{first}/{within}" if within.rpartition("/")[2] in _FIRST else f"{first}_{_DETAIL}/{within}"
