"""What every face is given: sets of pairs, and alerts on them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from embviz_callback.delivery.alerts.alarms import Alert, alerts_of, check_baselines, check_watched
from embviz_callback.delivery.provenance import given_pairs
from embviz_callback.delivery.tags import set_names
from embviz_callback.evaluator import Evaluator
from embviz_callback.pairs.formats.form import Reading
from embviz_callback.settings import Settings


def kept(given: Any) -> Any:
    """What may be read more than once: a generator gives its rows only once, and a callback may watch several fits."""
    return list(given) if isinstance(given, Iterator) else given


def given_alerts(alert: Any, data: Any, sets: Mapping[str, Any] | None) -> tuple[Alert, ...]:
    """The rules, once they and the names of the sets are found to be usable; a ValueError or TypeError says if not.

    Args:
        alert: One, a list of them, or None.
        data: Given instead of sets.
        sets: Name to data, or None.

    Returns:
        All rules.
    """
    alerts = alerts_of(alert)
    check_watched(alerts, set_names(data, sets))
    return alerts


def evaluators_on(
    data: Any,
    sets: Mapping[str, Any] | None,
    settings: Settings,
    *,
    datamodule: Any = None,
    reading: Reading | None = None,
    corpus: Any = None,
    max_corpus: int | None = None,
    alerts: Sequence[Alert] = (),
) -> dict[str, Evaluator]:
    """An evaluator for each set that a training is watched by.

    Args:
        data: As for `given_pairs`.
        sets: Name to data; None for `data` alone, whose name is empty.
        settings: Of every evaluation.
        datamodule: May bring the pairs.
        reading: How all are read.
        corpus: As for `Evaluator.on`, of the first.
        max_corpus: Likewise.
        alerts: Whose baselines must be of these sets; a ValueError says if one is not.

    Returns:
        Name to evaluator, the first first.
    """
    found: dict[str, Evaluator] = {}
    for name, given in ({"": data} if sets is None else sets).items():
        beside = {} if found else {"corpus": corpus, "max_corpus": max_corpus}
        found[name] = Evaluator.on(given_pairs(given, datamodule, reading), settings, **beside)
    check_baselines(alerts, {name: one.subset.fingerprint for name, one in found.items()})
    return found
