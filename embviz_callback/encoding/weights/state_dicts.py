"""Which weights of a state dict are the encoder's, which the head's, and which nobody's."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from embviz_callback.encoding.weights.complaints import CheckpointError, short
from embviz_callback.encoding.weights.stored import Weight, fetch

# What data parallelism, a Lightning module around the model, or a bare transformer puts in front.
_WRAPPERS = ("model.", "module.", "bi_encoder.", "_forward_module.", "bert.", "roberta.")
_COMPILED = "_orig_mod."
_ENCODER_MARKS = ("encoder.", "embeddings.")
_HEAD_MARKS = ("head.", "linear.weight")
_BARE_HEAD = ("linear.", "ln.")
# Trained with the model, but no part of what turns a text into a vector.
_HARMLESS = re.compile(r"loss|criterion|logit_scale|logit_bias|temperature|^tau$|metric|miner", re.IGNORECASE)


@dataclass(frozen=True)
class Parts:
    """Weights of a checkpoint by what they are for.

    Attributes:
        encoder: By the encoder's own names; empty if only a head was saved.
        head: By the head's own names; empty if there is none.
        prefix: What was taken off the names, several separated by commas; often empty.
        ignored: First part of the names of weights that do not make embeddings.
    """

    encoder: dict[str, Weight]
    head: dict[str, Weight]
    prefix: str
    ignored: tuple[str, ...]


def split(state: Mapping[str, Weight], path: Path) -> Parts:
    """Sorts weights by their names.

    Args:
        state: Name to tensor, as a training program saved it.
        path: For the error.

    Returns:
        Encoder and head under their own names.

    Raises:
        CheckpointError: If there is neither, if there are two that differ, or if weights are left
            over that may belong to an encoder or a head of another name.
    """
    names = {name.replace(_COMPILED, ""): tensor for name, tensor in state.items()}
    encoder_prefix = _prefix(names, _ENCODER_MARKS, path)
    head_prefix = _prefix(names, _HEAD_MARKS, path)
    if encoder_prefix is None and head_prefix is None:
        found = ", ".join(list(names)[:3]) or "nothing"
        raise CheckpointError(
            f"{path} has neither encoder.* nor head.linear.weight among its {len(names)} weights; it has {short(found)}"
        )
    head = {} if head_prefix is None else _head(names, head_prefix)
    encoder = {} if encoder_prefix is None else _encoder(names, encoder_prefix, head.values())
    left = _left_over(names, encoder, head)
    _refuse_unknown(left, encoder, head, path)
    stripped = {prefix for prefix in (encoder_prefix, head_prefix) if prefix}
    if any(_COMPILED in name for name in state):
        stripped.add(_COMPILED)
    return Parts(
        {own: names[name] for own, name in encoder.items()},
        {own: names[name] for own, name in head.items()},
        ", ".join(sorted(stripped)),
        tuple(sorted({name.split(".")[0] for name in left})),
    )


def _prefix(names: Mapping[str, Weight], marks: tuple[str, ...], path: Path) -> str | None:
    """The shortest run of wrappers before one of the marks, None if no name has a mark."""
    found = sorted({prefix for name in names if (prefix := _peel(name, marks)) is not None}, key=len)
    for other in found[1:]:
        # A module that is registered twice is saved twice, which does no harm as long as both agree.
        marked = tuple(other + mark for mark in marks)
        copies = [(found[0] + name.removeprefix(other), name) for name in names if name.startswith(marked)]
        if any(own in names and not _are_equal(names[own], names[name]) for own, name in copies):
            raise CheckpointError(
                f"{path} holds two different models, {found[0] + marks[0]}* and {other + marks[0]}*; save one of them"
            )
    return found[0] if found else None


def _are_equal(one: Weight, other: Weight) -> bool:
    found = fetch({"one": one, "other": other})
    return torch.equal(found["one"], found["other"])


def _peel(name: str, marks: tuple[str, ...]) -> str | None:
    rest = name
    while not rest.startswith(marks):
        wrapper = next((wrapper for wrapper in _WRAPPERS if rest.startswith(wrapper)), None)
        if wrapper is None:
            return None
        rest = rest.removeprefix(wrapper)
    return name.removesuffix(rest)


def _head(names: Iterable[str], prefix: str) -> dict[str, str]:
    """The head's own name of each of its weights, to the name in the file."""
    inside = {name.removeprefix(f"{prefix}head."): name for name in names if name.startswith(f"{prefix}head.")}
    if inside:
        # A head that is a linear layer itself has no `linear` in its names.
        return {f"linear.{own}" if own in ("weight", "bias") else own: name for own, name in inside.items()}
    own_names = {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}
    return {own: name for own, name in own_names.items() if own.startswith(_BARE_HEAD)}


def _encoder(names: Iterable[str], prefix: str, taken: Iterable[str]) -> dict[str, str]:
    own_names = {name.removeprefix(prefix): name for name in names if name.startswith(prefix)}
    if any(own.startswith("embeddings.") for own in own_names):
        # A transformer saved by itself, whose layers happen to be called encoder.layer.
        others = set(taken)
        mine = {own: name for own, name in own_names.items() if name not in others}
        return {own: name for own, name in mine.items() if not _HARMLESS.search(own.split(".")[0])}
    return {own.removeprefix("encoder."): name for own, name in own_names.items() if own.startswith("encoder.")}


def _left_over(names: Iterable[str], encoder: Mapping[str, str], head: Mapping[str, str]) -> list[str]:
    used = {*encoder.values(), *head.values()}
    return [name for name in names if name not in used]


def _refuse_unknown(left: Iterable[str], encoder: Mapping[str, str], head: Mapping[str, str], path: Path) -> None:
    """With encoder and head both found, what is left is not needed; without, it may be the missing one."""
    unknown = [name for name in left if not _HARMLESS.search(name)]
    if unknown and not (encoder and head):
        missing = "head" if encoder else "encoder"
        raise CheckpointError(
            f"{path} has no {missing}.*, but {len(unknown)} weights of unknown purpose, the first is "
            f"{short(unknown[0])}; save the {missing} under the name {missing}"
        )
