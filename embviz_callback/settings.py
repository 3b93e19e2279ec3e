"""Every option of an evaluation: meaning, unit, range, default."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")
Options = TypeVar("Options")


@dataclass(frozen=True)
class Settings:
    """What is evaluated, how it is encoded and what is drawn.

    Keyword arguments of the callback and the runner's flags bear the same names.

    Attributes:
        max_samples: Queries in the fixed validation subset, at least 1.
        seed: Chooses the subset and starts the maps.
        every_n_epochs: Evaluate at the end of every n-th epoch, at least 1.
        batch_size: Texts per forward pass, at least 1; halved when memory runs out.
        query_prompt: Text put before every query ("query: " for E5); "" for none. Default None: the model's own.
        document_prompt: The same for every document and hard negative.
        similarity: By which documents are ranked, "cosine", "dot", "euclidean" or "manhattan". Default None: what the
            model declares, else the cosine.
        skip_tsne: Leave the t-SNE map out.
        skip_umap: Leave the UMAP map out.
        heatmap_pairs: Rows and columns of the heatmap, 2 to 200.
        bootstrap_draws: Resamplings behind a 95 % interval, 100 to 100,000.
        projector: Put every kept evaluation into TensorBoard's projector, 1 MB for 500 pairs in 256 dimensions.
        metric: By which the best evaluation is chosen: a rank metric, "margin" or "separation". Default "": nDCG@10
            where documents carry grades or a query has several, else MRR.
        features: "module:function" that reads columns from a text, for the analysis at the end of a training;
            the module is found from the current directory. Default none: the records' metadata.

    Raises:
        ValueError: If a value is out of its range.
        TypeError: If a value is of another type than its default.
    """

    max_samples: int = 500
    seed: int = 7
    every_n_epochs: int = 1
    batch_size: int = 32
    query_prompt: str | None = None
    document_prompt: str | None = None
    similarity: str | None = None
    skip_tsne: bool = False
    skip_umap: bool = False
    heatmap_pairs: int = 50
    bootstrap_draws: int = 1000
    projector: bool = False
    metric: str = ""
    features: str = ""

    def __post_init__(self) -> None:
        for option in fields(self):
            _check_type(option.name, getattr(self, option.name), option.default)
        if self.similarity not in (None, *SIMILARITIES):
            raise ValueError(f"similarity must be one of {', '.join(SIMILARITIES)}, got {self.similarity!r}")
        for name, low, high in RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} must be between {low} and {high}, got {value}")


def merged(name: str, given: Options | None, flat: Mapping[str, Any], default: Options) -> Options:
    """Options given as one value, and single ones of them given beside it.

    Args:
        name: Of the argument that takes the value, for the message.
        given: The value; None where it was not given.
        flat: Field to value, those of `default` where they were not given.
        default: The value when nothing is given.

    Returns:
        The value with the single ones in it.

    Raises:
        ValueError: If a field is given both ways.
    """
    beside = {field: value for field, value in flat.items() if value != getattr(default, field)}
    for field in beside:
        if given is not None and getattr(given, field) != getattr(default, field):
            raise ValueError(f"{field} is given twice, by itself and in {name}=; give it once")
    return replace(default if given is None else given, **beside)  # type: ignore[type-var]


def split_options(options: Mapping[str, Any], *kinds: type) -> tuple[dict[str, Any], ...]:
    """Keywords by the dataclass whose field they are.

    Args:
        options: Field to value.
        kinds: Dataclasses.

    Returns:
        One mapping per dataclass.

    Raises:
        ValueError: If an option is a field of none; the nearest known one is named.
    """
    names = [[option.name for option in fields(kind)] for kind in kinds]
    known = [name for group in names for name in group]
    for name in options:
        if name not in known:
            raise ValueError(f"there is no option {name!r}{nearest(name, known)}")
    return tuple({name: options[name] for name in group if name in options} for group in names)


RANGES = (  # name, least and most
    ("max_samples", 1, 1_000_000),
    ("seed", 0, 2**32 - 1),
    ("every_n_epochs", 1, 1_000_000),
    ("batch_size", 1, 1_000_000),
    ("heatmap_pairs", 2, 200),
    ("bootstrap_draws", 100, 100_000),
)


def nearest(name: str, known: list[str]) -> str:
    """The end of an error sentence: which known name was probably meant."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(sorted(known))}"


def _check_type(name: str, value: object, default: object) -> None:
    # What is None by default may be a text.
    expected, called = (str | None, "str or None") if default is None else (type(default), type(default).__name__)
    # bool is an int to Python; True pairs would be one pair.
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise TypeError(f"{name} must be {called}, got {type(value).__name__} {value!r}")
