"""What every face is given, checked before anything is trained: sets of pairs, and how they are watched."""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from embviz_callback.analysis.verdict.best import check_metric
from embviz_callback.delivery.alerts.alarms import Alert, alerts_of, check_baselines, check_watched
from embviz_callback.delivery.places import as_output_dir, check_output_dir
from embviz_callback.delivery.process.training_side import Limits
from embviz_callback.delivery.provenance import given_pairs
from embviz_callback.delivery.tags import prefix_of, set_names
from embviz_callback.delivery.timing import Budget
from embviz_callback.evaluator import Evaluator
from embviz_callback.pairs.check.importing import load_function
from embviz_callback.pairs.formats.form import Reading
from embviz_callback.settings import Settings, merged, split_options

_TRIAL_QUERIES, _TRIAL_TEXTS = 5, 50
_PLANNED = ("figures", "log_baseline", "on_error", "overhead_limit")


@dataclass(frozen=True)
class Plan:
    """How a training is watched.

    Attributes:
        settings: Of every evaluation.
        alerts: The rules, as `alerts_of` gives them.
        limits: Of the drawing process.
        figures: Whether anything is drawn.
        log_baseline: Whether the figures of the untrained model go into TensorBoard too.
        on_error: "warn" or "raise".
        overhead_limit: Evaluations' share of the training time, 0 to 1; 0 for no limit.

    Raises:
        ValueError: If an option is out of its range.
    """

    settings: Settings
    alerts: tuple[Alert, ...] = ()
    limits: Limits = field(default_factory=Limits)
    figures: bool = True
    log_baseline: bool = False
    on_error: str = "warn"
    overhead_limit: float = 0.0

    def __post_init__(self) -> None:
        if self.on_error not in ("warn", "raise"):
            raise ValueError(f"on_error must be 'warn' or 'raise', got {self.on_error!r}")
        if self.settings.features:
            load_function(self.settings.features)  # a wrong name must not be found at the end of the training
        check_metric(self.settings.metric)
        Budget(self.overhead_limit)

    @property
    def way(self) -> dict[str, str | None]:
        """What changes the numbers of a model that has not changed itself."""
        return {name: getattr(self.settings, name) for name in ("query_prompt", "document_prompt", "similarity")}

    @property
    def may_stop(self) -> bool:
        """Whether an alert may end the training."""
        return any(one.stop_training for one in self.alerts)


@dataclass(frozen=True, eq=False)
class Given:
    """What a face was given, found to be usable before anything is trained.

    Attributes:
        plan: How the training is watched.
        prefix: What stands before the slash in every tag, and the name of the folder.
        sets: Name to pairs, as `read_pairs` takes them; the only set has an empty name, and is None where the data
            module brings it.
        reading: How all are read.
        corpus: Further documents of the first set.
        shard_corpus: Whether each rank encodes its share of them.
        output_dir: Where files go; None for the face's own place.
    """

    plan: Plan
    prefix: str
    sets: Mapping[str, Any]
    reading: Reading | None
    corpus: Any
    shard_corpus: bool
    output_dir: str | Path | None

    @classmethod
    def of(cls, options: Mapping[str, Any], flat: Mapping[str, Any]) -> Self:
        """Checks the keywords that all faces share.

        Args:
            options: Keyword to value, among others that do not matter here.
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
            {name: kept(one) for name, one in ({"": data} if sets is None else sets).items()},
            options["reading"],
            kept(corpus),
            options["shard_corpus"],
            as_output_dir(output_dir),
        )

    def evaluators(self, datamodule: Any = None, *, is_trial: bool = False) -> dict[str, Evaluator]:
        """One for each set, of which the first is ranked among the corpus.

        Args:
            datamodule: May bring the pairs.
            is_trial: A few of the pairs and of the corpus are enough, and no baseline is looked at.

        Returns:
            Name to evaluator, the first first; the only one has an empty name. A ValueError says that the baseline of
            an alert is of other data.
        """
        settings, most = self.plan.settings, None
        if is_trial:
            settings, most = replace(settings, max_samples=_TRIAL_QUERIES), _TRIAL_TEXTS
        found: dict[str, Evaluator] = {}
        for name, data in self.sets.items():
            beside = {} if found else {"corpus": self.corpus, "max_corpus": most}
            found[name] = Evaluator.on(given_pairs(data, datamodule, self.reading), settings, **beside)
        alerts = () if is_trial else self.plan.alerts
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
