"""How a training is watched: every option, checked before anything is trained."""

from dataclasses import dataclass, field

from embviz_callback.analysis.verdict.best import check_metric
from embviz_callback.delivery.alerts.alarms import Alert
from embviz_callback.delivery.process.training_side import Limits
from embviz_callback.delivery.timing import Budget
from embviz_callback.pairs.importing import load_function
from embviz_callback.settings import Settings


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
    def may_stop(self) -> bool:
        """Whether an alert may end the training."""
        return any(one.stop_training for one in self.alerts)
