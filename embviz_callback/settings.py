"""Every option of an evaluation: meaning, unit, range, default."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True)
class Settings:
    """What is evaluated, how it is encoded and what is drawn.

    Keyword arguments of the callback and the runner's flags bear the same names.

    Attributes:
        max_samples: Queries in the fixed validation subset, at least 1.
        seed: Chooses the subset and starts the maps.
        every_n_epochs: Evaluate at the end of every n-th epoch, at least 1.
        batch_size: Texts per forward pass, at least 1; halved when memory runs out.
        query_prompt: Text put before every query ("query: " for E5), default none.
        document_prompt: Text put before every document and hard negative, default none.
        skip_tsne: Leave the t-SNE map out.
        skip_umap: Leave the UMAP map out.
        heatmap_pairs: Rows and columns of the heatmap, 2 to 200.
        bootstrap_draws: Resamplings behind a 95 % interval, 100 to 100,000.
        projector: Put every kept evaluation into TensorBoard's projector, 1 MB for 500 pairs in 256 dimensions.
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
    query_prompt: str = ""
    document_prompt: str = ""
    skip_tsne: bool = False
    skip_umap: bool = False
    heatmap_pairs: int = 50
    bootstrap_draws: int = 1000
    projector: bool = False
    features: str = ""

    def __post_init__(self) -> None:
        for option in fields(self):
            _check_type(option.name, getattr(self, option.name), type(option.default))
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} must be between {low} and {high}, got {value}")

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """Settings from keywords or a YAML mapping.

        Returns:
            The settings; what `options` leaves out has its default.

        Raises:
            ValueError: If an option does not exist; the nearest known one is named.
        """
        known = [option.name for option in fields(cls)]
        for name in options:
            if name not in known:
                raise ValueError(f"there is no option {name!r}{nearest(name, known)}")
        return cls(**options)


_RANGES = (
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


def _check_type(name: str, value: object, expected: type) -> None:
    # bool is an int to Python; True pairs would be one pair.
    if not isinstance(value, expected) or (expected is int and isinstance(value, bool)):
        raise TypeError(f"{name} must be {expected.__name__}, got {type(value).__name__} {value!r}")
