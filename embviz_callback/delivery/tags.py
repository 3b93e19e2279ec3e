"""Under which tag a number of an evaluation is logged."""

from embviz_callback.analysis.metrics.catalogue import HEADLINE, shown
from embviz_callback.files import safe_name

PREFIX = "embviz"
_DETAIL = "detail"
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


def scalar_tag(prefix: str, name: str) -> str:
    """The tag of a number in a logger: what is looked at first under the prefix, all else under its details.

    TensorBoard shows a card for each tag, grouped by what stands before the slash: among 37 the few that matter drown.
    Monitors (`trainer.callback_metrics`) find every number under the prefix.

    Args:
        prefix: From `prefix_of`.
        name: Of a metric, or ``alert``, ``blocked_s``, ``overhead``, ``margin_threshold``.

    Returns:
        ``<prefix>/<name>`` for the headline and the alert, else ``<prefix>_detail/<name>``.

    Example:
        >>> scalar_tag("embviz", "margin"), scalar_tag("embviz_x", "blocked_s")
        ('embviz/margin', 'embviz_x_detail/blocked_s')
    """
    return f"{prefix}/{name}" if name in _FIRST else f"{prefix}_{_DETAIL}/{name}"
