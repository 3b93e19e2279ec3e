"""The promised names and their signatures: there may come more, but none of these may go or change."""

import inspect
from typing import Any

import pytest

import embviz_callback

PATH = "str | os.PathLike[str]"
ALERT = "embviz_callback.delivery.alerts.rule"
SETTINGS = (
    "max_samples: int = 500",
    "seed: int = 7",
    "every_n_epochs: int = 1",
    "batch_size: int = 32",
    "query_prompt: str | None = None",
    "document_prompt: str | None = None",
    "similarity: str | None = None",
    "skip_tsne: bool = False",
    "skip_umap: bool = False",
    "heatmap_pairs: int = 50",
    "bootstrap_draws: int = 1000",
)
# Parameters by position, then those by keyword.
PROMISED: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "EmbeddingVisualizer": (
        ("data: Any = None",),
        (
            "corpus: Any = None",
            f"output_dir: {PATH} | None = None",
            "when: str = 'train_epoch_end'",
            "log_baseline: bool = False",
            "overhead_limit: float = 0.0",
            "figures: bool = True",
            "on_error: str = 'warn'",
            "name: str = ''",
            "drawing_time_limit_s: float = 300.0",
            "memory_limit_gb: float = 16.0",
            "queue_limit: int = 8",
            "finish_limit_s: float = 600.0",
            "grace_s: float = 20.0",
            *SETTINGS,
        ),
    ),
    "MarginAlert": (
        (
            "threshold: float = 0.25",
            "patience: int = 0",
            "warmup_epochs: int = 0",
            "stop_training: bool = False",
            "recovery_threshold: float | None = None",
            "confident: bool = False",
            f"on_alert: collections.abc.Callable[[{ALERT}.AlertEvent], None] | None = None",
        ),
        (),
    ),
    "Settings": (SETTINGS, ()),
    "evaluate_pairs": (
        ("query: Any", "document: Any", "relevance: Any"),
        (
            "hard_negatives: Any = None",
            "hard_pairs: Any = None",
            "corpus: Any = None",
            "draws: int = 1000",
            "seed: int = 0",
        ),
    ),
}


def _written(parameter: inspect.Parameter) -> str:
    return str(parameter.replace(kind=inspect.Parameter.POSITIONAL_OR_KEYWORD))


@pytest.mark.parametrize("name", PROMISED)
def test_a_promised_signature_keeps_its_parameters_types_and_defaults(name: str) -> None:
    by_position, by_keyword = PROMISED[name]
    parameters = list(inspect.signature(getattr(embviz_callback, name)).parameters.values())
    in_order = [_written(each) for each in parameters if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    named = [_written(each) for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
    assert in_order[: len(by_position)] == list(by_position)
    assert [each for each in by_keyword if each not in named] == []
    added = parameters[len(by_position) :]
    defaults = [each.default for each in added if each.kind is not inspect.Parameter.VAR_KEYWORD]
    assert inspect.Parameter.empty not in defaults, "what comes in addition must have a default"


def test_the_alert_is_on_unless_it_is_switched_off() -> None:
    alert = inspect.signature(embviz_callback.EmbeddingVisualizer).parameters["alert"]
    assert alert.default == embviz_callback.MarginAlert(threshold=0.25)


def test_metrics_are_read_by_name_in_four_ways() -> None:
    metrics: Any = embviz_callback.evaluate_pairs([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]], [0, 1])
    assert metrics.margin == metrics["margin"] == metrics.get("margin") == metrics.as_dict()["metrics"]["margin"] == 1.0
    spread = {"positive_mean", "positive_std", "negative_mean", "negative_std", "margin", "separation", "auc"}
    ranks = {"rank1", "mrr", "ndcg_at_10", "map", *(f"recall_at_{k}" for k in (1, 5, 10, 50))}
    naive = {"naive_rank1", "naive_rank1_ceiling"}
    assert spread | ranks | naive | {"alignment", "uniformity"} <= set(metrics.figures)
    assert {"margin", "separation", "rank1"} <= set(metrics.intervals)
