"""What every face is given: sets of pairs, and how a training is watched on them."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from embviz_callback.delivery.alerts.alarms import Alert, alerts_of, check_baselines, check_watched
from embviz_callback.delivery.places import as_output_dir, check_output_dir
from embviz_callback.delivery.process.training_side import Limits
from embviz_callback.delivery.provenance import given_pairs
from embviz_callback.delivery.tags import prefix_of, set_names
from embviz_callback.evaluator import Evaluator
from embviz_callback.pairs.formats.form import Reading
from embviz_callback.session.plan import Plan
from embviz_callback.settings import Settings, merged, split_options

_PLANNED = ("figures", "log_baseline", "on_error", "overhead_limit")


@dataclass(frozen=True, eq=False)
class Given:
    """What a face was given, found to be usable before anything is trained.

    Attributes:
        plan: How the training is watched.
        prefix: What stands before the slash in every tag, and the name of the folder.
        data: Pairs, as `read_pairs` takes them; None where there are several sets, or the data module brings them.
        sets: Name to pairs; None for `data`.
        reading: How all are read.
        corpus: Further documents of the first set.
        shard_corpus: Whether each rank encodes its share of them.
        output_dir: Where files go; None for the face's own place.
    """

    plan: Plan
    prefix: str
    data: Any
    sets: Mapping[str, Any] | None
    reading: Reading | None
    corpus: Any
    shard_corpus: bool
    output_dir: str | Path | None

    @classmethod
    def of(cls, options: Mapping[str, Any], flat: Mapping[str, Any]) -> Self:
        """Checks the keywords that all faces share.

        Args:
            options: Keyword to value.
            flat: Fields of `Settings` and `Limits` that were given by themselves.

        Returns:
            What they say.

        Raises:
            ValueError: If an option does not exist, is out of its range, or given by itself and in `settings` or
                `limits`; a TypeError says that data or corpus are of a wrong type.
        """
        data, sets, corpus, output_dir = (options[name] for name in ("data", "sets", "corpus", "output_dir"))
        _check_rows("data", data, "pairs")
        _check_rows("corpus", corpus, "texts")
        if options["shard_corpus"] and corpus is None:
            raise ValueError("shard_corpus=True needs a corpus, got none")
        if output_dir is not None:
            check_output_dir(output_dir)
        alerts = alerts_of(options["alert"])
        check_watched(alerts, set_names(data, sets))
        flat_settings, flat_limits = split_options(flat, Settings, Limits)
        settings = merged("settings", options["settings"], flat_settings, Settings())
        limits = merged("limits", options["limits"], flat_limits, Limits())
        planned = {name: options[name] for name in _PLANNED if name in options}
        return cls(
            Plan(settings, alerts, limits, **planned),
            prefix_of(options["name"]),
            kept(data),
            None if sets is None else {name: kept(one) for name, one in sets.items()},
            options["reading"],
            kept(corpus),
            options["shard_corpus"],
            as_output_dir(output_dir),
        )

    def evaluators(
        self,
        settings: Settings,
        *,
        datamodule: Any = None,
        max_corpus: int | None = None,
        alerts: Sequence[Alert] = (),
    ) -> dict[str, Evaluator]:
        """One for each set, of which the first is ranked among the corpus.

        Args:
            settings: Of every evaluation.
            datamodule: May bring the pairs.
            max_corpus: As for `Evaluator.on`.
            alerts: Whose baselines must be of these sets; a ValueError says if one is not.

        Returns:
            Name to evaluator, the first first; the only one has an empty name.
        """
        found: dict[str, Evaluator] = {}
        for name, data in ({"": self.data} if self.sets is None else self.sets).items():
            beside = {} if found else {"corpus": self.corpus, "max_corpus": max_corpus}
            found[name] = Evaluator.on(given_pairs(data, datamodule, self.reading), settings, **beside)
        check_baselines(alerts, {name: one.subset.fingerprint for name, one in found.items()})
        return found


def kept(given: Any) -> Any:
    """What may be read more than once: a generator gives its rows only once, and a callback may watch several fits."""
    return list(given) if isinstance(given, Iterator) else given


def _check_rows(name: str, rows: Any, of: str) -> None:
    # A map-style data set and a table of pyarrow are gone through by their places.
    is_held = isinstance(rows, str | os.PathLike | Iterable | None) or hasattr(rows, "__getitem__")
    if not is_held or isinstance(rows, bytes):
        raise TypeError(f"{name} must be a path, a list of {of} or None, got {type(rows).__name__}")
