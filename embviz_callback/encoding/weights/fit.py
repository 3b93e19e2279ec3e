"""Which weights of a file are an encoder's: those under the prefix at which all of its own names are found."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from embviz_callback.encoding.weights.complaints import CheckpointError, short
from embviz_callback.encoding.weights.stored import Weight, are_equal

# What compilation, FSDP and checkpointed activations put into the middle of names.
_INSERTED = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
# As BERT's first files had it.
_OLD_NAMES = ((".LayerNorm.gamma", ".LayerNorm.weight"), (".LayerNorm.beta", ".LayerNorm.bias"))
# Rebuilt from the configuration, or not used for pooled features; older versions saved them or did not.
_OPTIONAL = re.compile(r"(position_ids|token_type_ids|rotary_emb\.inv_freq|attn\.(masked_)?bias)$|(^|\.)pooler\.")
_QUERY = re.compile(r"(^|[._])(query|question|q|anchor|left|user)(?=[._]|encoder|model|tower|$)", re.IGNORECASE)
_DOCUMENT = re.compile(
    r"(^|[._])(doc|document|ctx|context|passage|p|d|key|answer|right|item)(?=[._]|encoder|model|tower|$)", re.IGNORECASE
)


@dataclass(frozen=True, eq=False)
class Found:
    """What of a file makes embeddings.

    Attributes:
        fits: No encoder, one, or that of the queries and then that of the documents.
        rest: By plain name, what is no encoder's, nor a copy of one.
    """

    fits: tuple["Fit", ...]
    rest: dict[str, Weight]


@dataclass(frozen=True)
class Fit:
    """The encoder that was found in a file.

    Attributes:
        prefix: What stands before its names.
        encoder: Its weights by its own names.
    """

    prefix: str
    encoder: dict[str, Weight]


def plain_name(name: str) -> str:
    """The name of a weight without what wrappers put into it.

    Args:
        name: As it was saved.

    Returns:
        As its module calls it.

    Example:
        >>> plain_name("model._orig_mod.encoder.LayerNorm.gamma")
        'model.encoder.LayerNorm.weight'
    """
    for part in _INSERTED:
        name = name.replace(part, "")
    for old, new in _OLD_NAMES:
        name = name.removesuffix(old) + new if name.endswith(old) else name
    return name


def ends_of(name: str) -> Iterator[str]:
    """A name with dots, then without its first part, without the first two and so on."""
    parts = name.split(".")
    return (".".join(parts[start:]) for start in range(len(parts)))


def is_optional(name: str) -> bool:
    """Whether pooled features can do without a weight of that name."""
    return _OPTIONAL.search(name) is not None


def find_encoders(
    encoder: nn.Module, state: Mapping[str, Weight], path: Path, *, prefix: str | None, called: str
) -> Found:
    """The encoder of a file, or its two towers.

    Args:
        encoder: Whose names and shapes are looked for; needs no memory.
        state: The file's weights by their plain names.
        path: For the error.
        prefix: Where several fit, the one that the user names; None for the only one.
        called: The encoder's name, for the error.

    Returns:
        Its encoders, and what is left.

    Raises:
        CheckpointError: If an encoder is not whole, or several that differ fit and nobody said which.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}
    needed = _needed(encoder)
    found = every = _by_prefix(shapes, state)
    if prefix is not None:
        wanted = prefix if not prefix or prefix.endswith(".") else f"{prefix}."
        found = [fit for fit in every if fit.prefix == wanted]
        if not found:
            there = ", ".join(map(repr, sorted(fit.prefix for fit in every))) or "no prefix at all"
            raise CheckpointError(
                f"{path} has no encoder weights under {short(wanted)!r}; it has some under {short(there)}"
            )
    whole = [fit for fit in found if not _lacking(needed, fit)]
    if not whole:
        _refuse_a_part(found, needed, path, called)
        return Found((), dict(state))
    fits = _best(whole, shapes, state)
    for fit in fits:
        _refuse_more(fit, shapes, state, path, called)
    # Also of those that the user does not mean: no matrix of another encoder is this one's head.
    taken = {fit.prefix + own for fit in every if not _lacking(needed, fit) for own in fit.encoder}
    rest = {name: weight for name, weight in state.items() if name not in taken}
    return Found(_told_apart(fits, path), rest)


def _needed(encoder: nn.Module) -> list[tuple[str, ...]]:
    """Names of what must be there; tied weights under any one of theirs."""
    groups: dict[int, list[str]] = {}
    for name, tensor in encoder.state_dict(keep_vars=True).items():
        groups.setdefault(id(tensor), []).append(name)
    return [tuple(names) for names in groups.values() if not is_optional(names[0])]


def _by_prefix(shapes: Mapping[str, object], state: Mapping[str, Weight]) -> list[Fit]:
    """For each prefix the encoder's own names that are found under it."""
    found: dict[str, Fit] = {}
    for name, weight in state.items():
        for own in ends_of(name):
            if own in shapes:
                prefix = name.removesuffix(own)
                found.setdefault(prefix, Fit(prefix, {})).encoder[own] = weight
    return list(found.values())


def _lacking(needed: Sequence[tuple[str, ...]], fit: Fit) -> list[str]:
    return sorted(names[0] for names in needed if not any(name in fit.encoder for name in names))


def _best(whole: list[Fit], shapes: Mapping[str, tuple[int, ...]], state: Iterable[str]) -> list[Fit]:
    """Those of the right shapes and without more layers; where none is, all, for the error that says so."""
    fitting = [fit for fit in whole if all(weight.shape == shapes[own] for own, weight in fit.encoder.items())]
    exact = [fit for fit in fitting or whole if not _more(fit, shapes, state)]
    return sorted(exact or fitting or whole, key=lambda fit: (len(fit.prefix), fit.prefix))


def _more(fit: Fit, shapes: Mapping[str, object], state: Iterable[str]) -> list[str]:
    """What else is under a prefix and begins like the encoder's own names: layers that it does not have."""
    tops = {name.split(".")[0] for name in shapes if "." in name}
    own = (name.removeprefix(fit.prefix) for name in state if name.startswith(fit.prefix))
    return [name for name in own if name not in shapes and name.split(".")[0] in tops and not is_optional(name)]


def _refuse_more(fit: Fit, shapes: Mapping[str, object], state: Iterable[str], path: Path, called: str) -> None:
    more = [name for name in _more(fit, shapes, state) if "." in name]
    if more:
        raise CheckpointError(
            f"{path} has {len(more)} encoder weights that {called!r} does not, the first is {short(more[0])}; "
            "name the encoder they belong to with --encoder"
        )


def _refuse_a_part(found: list[Fit], needed: Sequence[tuple[str, ...]], path: Path, called: str) -> None:
    most = max(found, key=lambda fit: len(fit.encoder), default=None)
    if most is not None and len(most.encoder) >= max(2, len(needed) // 10):
        lacking = _lacking(needed, most)
        raise CheckpointError(
            f"{path} lacks {len(lacking)} weights of encoder {called!r}, the first is {lacking[0]}; "
            "name the encoder it belongs to with --encoder"
        )


def _told_apart(fits: list[Fit], path: Path) -> tuple[Fit, ...]:
    """One of several that agree; the two of a two-tower model, queries first."""
    different = [fits[0]]
    for fit in fits[1:]:
        # A module that is registered twice is saved twice, which does no harm as long as both agree.
        if not any(are_equal(fit.encoder, other.encoder) for other in different):
            different.append(fit)
    if len(different) == 1:
        return (fits[0],)
    queries = [fit for fit in different if is_of_queries(fit.prefix)]
    documents = [fit for fit in different if is_of_documents(fit.prefix)]
    if len(different) == 2 and len(queries) == len(documents) == 1 and queries != documents:
        return (queries[0], documents[0])
    names = " and ".join(f"{fit.prefix}*" for fit in different)
    raise CheckpointError(
        f"{path} holds {len(different)} encoders that fit and differ, {names}; choose one with --prefix"
    )


def is_of_queries(name: str) -> bool:
    """Whether a module is called as the tower of the queries is in two-tower models."""
    return _QUERY.search(name.rstrip(".")) is not None


def is_of_documents(name: str) -> bool:
    """Whether a module is called as the tower of the documents is in two-tower models."""
    return _DOCUMENT.search(name.rstrip(".")) is not None
