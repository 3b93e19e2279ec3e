"""Which weights of a file are a projection head: one matrix of fitting shape, under any name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from embviz_callback.encoding.weights.complaints import CheckpointError, short
from embviz_callback.encoding.weights.fit import is_of_documents, is_of_queries
from embviz_callback.encoding.weights.stored import Weight, are_equal

# Trained with the model, but no part of what turns a text into a vector: losses, and the heads of other tasks.
_OTHER_PURPOSE = re.compile(
    r"loss|criterion|logit_scale|logit_bias|temperature|^tau$|metric|miner|teacher|lm_head|(^|\.)cls\.|classifier|"
    r"qa_outputs|(^|\.)score\.|vocab_|predictions|mlm|pooler|sparse_linear|colbert_linear|queue",
    re.IGNORECASE,
)
_CALLED_HEAD = ("head", "projection_head", "projection", "projector", "proj")
_MANY = 30_000  # rows from which a matrix scores a vocabulary rather than making an embedding


@dataclass(frozen=True)
class Layer:
    """One module of a head, a linear map or a norm.

    Attributes:
        name: Of the module in the file.
        weights: ``weight`` and perhaps ``bias``.
    """

    name: str
    weights: dict[str, Weight]

    @property
    def is_norm(self) -> bool:
        """Whether it scales features rather than mixing them."""
        return len(self.weights["weight"].shape) == 1

    @property
    def dim_in(self) -> int:
        """How many numbers it takes."""
        return self.weights["weight"].shape[-1]

    @property
    def family(self) -> str:
        """The module that it is part of: that of all its numbered ones for those of sentence-transformers."""
        # Such as 2.linear and 3.norm.
        outer, _, own = self.name.rpartition(".")
        above, _, place = outer.rpartition(".")
        return above if own in ("linear", "norm") and place.isdigit() else outer

    @property
    def group(self) -> str:
        """The head that it is or is part of."""
        return self.name if self.name.split(".")[-1] in _CALLED_HEAD and not self.is_norm else self.family


def find_head(
    rest: Mapping[str, Weight], path: Path, *, dim: int, near: str = ""
) -> tuple[list[Layer], tuple[str, ...]]:
    """The layers of a head among the weights that are not the encoder's.

    Args:
        rest: By plain name, in the order of the file.
        path: For the error.
        dim: Of the features that a head takes; where no matrix takes so many, any is given.
        near: What stands before the encoder's names: of several heads that beside it is meant.

    Returns:
        The layers in their order, none if there is no head; and what else there is, by the first part of its name.

    Raises:
        CheckpointError: If there are several heads, one that normalises over batches, or other weights of the size
            of the features that may be part of one.
    """
    layers = _layers({name: weight for name, weight in rest.items() if not _OTHER_PURPOSE.search(name)})
    matrices = [layer for layer in layers if not layer.is_norm and layer.weights["weight"].shape[0] < _MANY]
    fitting = {layer.group for layer in matrices if layer.dim_in == dim}
    matrices = [layer for layer in matrices if not fitting or layer.group in fitting]
    if not matrices:
        return [], _ignored(rest, [], layers, path, dim)
    group = _group_of(matrices, path, near)
    chain = _chain([layer for layer in matrices if layer.group == group], path, dim if fitting else matrices[0].dim_in)
    mates = {group, group.rpartition(".")[0]} if any(layer.name == group for layer in matrices) else {group}
    head = [layer for layer in layers if layer in chain or (layer.is_norm and layer.family in mates)]
    if any(f"{layer.name}.running_mean" in rest for layer in head):
        raise CheckpointError(f"{path}: its head normalises over batches, which cannot be read; export the model")
    return head, _ignored(rest, head, layers, path, dim)


def _group_of(matrices: list[Layer], path: Path, near: str) -> str:
    """The module whose matrices are the head: one that is called so, or the only one, the nearest to the encoder."""
    groups = list(dict.fromkeys(layer.group for layer in matrices))
    called = [name for name in groups if name.split(".")[-1] in _CALLED_HEAD]
    shared = {name: _n_shared(name.split("."), near.split(".")) for name in called or groups}
    nearest = [name for name in shared if shared[name] == max(shared.values())]
    first, *others = (_matrices_of(name, matrices) for name in nearest)
    if any(not are_equal(first, other) for other in others):
        _refuse_several(nearest, path)
    return nearest[0]


def _chain(matrices: list[Layer], path: Path, dim: int) -> list[Layer]:
    """Those of which each takes what the one before gives; what else takes the features makes it ambiguous."""
    chain: list[Layer] = []
    width = dim
    for layer in matrices:
        if layer.dim_in == width:
            chain.append(layer)
            width = layer.weights["weight"].shape[0]
    rivals = [layer for layer in matrices if layer not in chain and layer.dim_in == dim]
    if rivals:
        _refuse_several([chain[0].name, rivals[0].name], path)
    return chain


def _refuse_several(names: list[str], path: Path) -> NoReturn:
    of_queries, of_documents = (next(filter(is_of, names), "") for is_of in (is_of_queries, is_of_documents))
    if len(names) == 2 and {of_queries, of_documents} == {*names}:
        raise CheckpointError(
            f"{path} holds a head of queries, {short(of_queries)}, and one of documents, {short(of_documents)}, over "
            "one encoder, which cannot be read; save the weights twice, each time without one of them, and give the "
            "file of documents by --document-encoder, or evaluate the model in memory: "
            "embviz_callback.evaluate(model, data, encode=(of_queries, of_documents))"
        )
    listed = " and ".join(map(short, names[:2]))
    raise CheckpointError(f"{path} holds several matrices that may be its head, {listed}; save the right one alone")


def _matrices_of(group: str, matrices: list[Layer]) -> dict[str, Weight]:
    """Under their places, since two modules name the same layers differently."""
    return {f"{at}": one.weights["weight"] for at, one in enumerate(one for one in matrices if one.group == group)}


def _n_shared(one: list[str], other: list[str]) -> int:
    pairs = zip(one, other, strict=False)
    return next((at for at, pair in enumerate(pairs) if pair[0] != pair[1]), min(len(one), len(other)))


def _layers(rest: Mapping[str, Weight]) -> list[Layer]:
    modules: dict[str, dict[str, Weight]] = {}
    for name, weight in rest.items():
        module, _, part = name.rpartition(".")
        modules.setdefault(module, {})[part] = weight
    return [
        Layer(name, {part: parts[part] for part in ("weight", "bias") if part in parts})
        for name, parts in modules.items()
        if "weight" in parts and len(parts["weight"].shape) in (1, 2) and parts["weight"].shape[0] > 1
    ]


def _ignored(
    rest: Mapping[str, Weight], head: list[Layer], layers: list[Layer], path: Path, dim: int
) -> tuple[str, ...]:
    used = {f"{layer.name}.{part}".lstrip(".") for layer in head for part in layer.weights}
    unused = {name: weight for name, weight in rest.items() if name not in used}
    # What stands with other linear maps is the head of another task.
    of_others = {
        name for layer in layers if layer not in head and not layer.is_norm for name in (layer.name, layer.family)
    }
    odd = [
        name
        for name, weight in unused.items()
        if dim in weight.shape
        and 0 not in weight.shape
        and not _OTHER_PURPOSE.search(name)
        and of_others.isdisjoint(_modules_of(name))
    ]
    if odd:
        raise CheckpointError(
            f"{path} holds {short(', '.join(odd))}, which may be part of what makes its vectors and "
            "cannot be read; if they are not, save the weights without them, else evaluate the model in memory: "
            "embviz_callback.evaluate(model, data, encode=...)"
        )
    return tuple(sorted({name.split(".")[0] for name in unused}))


def _modules_of(name: str) -> list[str]:
    """The modules in which a weight lies, from the outermost on."""
    parts = name.split(".")[:-1]
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
