"""Low-rank adapters (LoRA, Hu et al. 2021), added to the weights they adapt."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from embviz_callback.encoding.weights.complaints import CheckpointError, short
from embviz_callback.encoding.weights.fit import ends_of, is_optional
from embviz_callback.encoding.weights.stored import Weight, fetch

_PART = re.compile(
    r"^(?P<module>.+)\.lora_(?P<kind>embedding_)?(?P<side>[AB]|magnitude_vector)(\.(?P<adapter>\w+))??(\.weight)?$"
)
_COPY = re.compile(r"\.modules_to_save\.\w+\.")
# Kinds of adapters whose sum is another one.
_OTHER = re.compile(r"\.(ia3_l|hada_w|lokr_w|oft_r|boft_R|vera_lambda|trainable_tokens|lora_B\.(\w+\.)?bias$)")
# Of these initialisations the adapter belongs to another base than the one it names.
_NEW_BASES = ("pissa", "olora", "corda", "loftq")


@dataclass
class LowRank:
    """The two factors of one weight's change.

    Attributes:
        module: That is changed, with whatever stands before its name.
        factors: ``A`` ``(rank, dim_in)``, ``B`` ``(dim_out, rank)``, and of DoRA ``magnitude_vector`` ``(dim_out,)``.
        is_embedding: Whether the module looks rows up, which are changed by the transposed product.
    """

    module: str
    factors: dict[str, Weight] = field(default_factory=dict)
    is_embedding: bool = False


@dataclass(frozen=True)
class Scale:
    """By what factor changes are multiplied.

    Attributes:
        alpha: Over the rank, that is the factor.
        by_root: Over the root of the rank instead (rsLoRA).
        patterns: Other alphas, by the end of a module's name or a pattern of it.
        is_transposed: Weights are stored ``(dim_in, dim_out)``.
    """

    alpha: float
    by_root: bool = False
    patterns: Mapping[str, float] = field(default_factory=dict)
    is_transposed: bool = False

    def of(self, module: str, rank: int) -> float:
        """The factor of a module with factors of that rank."""
        found = (alpha for name, alpha in self.patterns.items() if re.match(rf"(.*\.)?({name})$", module))
        return next(found, self.alpha) / (math.sqrt(rank) if self.by_root else rank)


def split_lora(weights: Mapping[str, Weight], path: Path) -> tuple[dict[str, Weight], list[LowRank]]:
    """Takes the adapters out of weights and gives what they adapt its own names back.

    Args:
        weights: By plain name.
        path: For the error.

    Returns:
        The weights without adapters, modules that were trained whole in place of those that were not; the adapters.

    Raises:
        CheckpointError: If there are adapters of another kind, or several on one module.
    """
    changes: dict[str, LowRank] = {}
    others: dict[str, Weight] = {}
    for name, weight in weights.items():
        part = _PART.match(name)
        if _OTHER.search(name):
            raise CheckpointError(
                f"{path} has adapters of another kind than LoRA ({short(name)}); merge them and save that"
            )
        if part is None:
            others[name] = weight
            continue
        change = changes.setdefault(part["module"], LowRank(part["module"]))
        change.is_embedding |= part["kind"] is not None
        if part["side"] in change.factors:
            raise CheckpointError(f"{path} has several adapters on {short(part['module'])}; save it with one")
        change.factors[part["side"]] = weight
    kept = {name: weight for name, weight in others.items() if ".original_module." not in name}
    renamed = {_COPY.sub(".", name).replace(".base_layer.", "."): weight for name, weight in kept.items()}
    return renamed, list(changes.values())


def scale_in(config: Mapping[str, Any], path: Path) -> Scale:
    """What a configuration of peft says.

    Args:
        config: The content of ``adapter_config.json``.
        path: For the error.

    Returns:
        The scale.

    Raises:
        CheckpointError: If it is of another kind of adapter or changed its base, or its alpha is no number.
    """
    kind, alpha = config.get("peft_type", "LORA"), config.get("lora_alpha")
    if kind != "LORA":
        raise CheckpointError(f"{path} is a {short(kind)} adapter; merge it and save that")
    first = config.get("init_lora_weights")
    if isinstance(first, str) and first.startswith(_NEW_BASES):
        raise CheckpointError(
            f"{path} was begun with {short(first)}, which changes the model it adapts; merge it and save that"
        )
    if not isinstance(alpha, int | float):
        raise CheckpointError(f"{path} has no lora_alpha; copy or download the adapter again")
    listed = config.get("alpha_pattern")
    patterns = {str(name): float(value) for name, value in listed.items()} if isinstance(listed, dict) else {}
    return Scale(float(alpha), bool(config.get("use_rslora")), patterns, bool(config.get("fan_in_fan_out")))


def merge(encoder: nn.Module, changes: list[LowRank], scale: Scale, path: Path) -> None:
    """Adds adapters to an encoder's weights.

    Args:
        encoder: Is changed.
        changes: From `split_lora`.
        scale: Of the adapter.
        path: For the error.

    Raises:
        CheckpointError: If a change is not whole, or of nothing that the encoder has.
    """
    modules = dict(encoder.named_modules())
    for change in changes:
        own = _own_name(change.module, modules)
        if own is None and is_optional(f"{change.module}."):
            continue  # a pooler, which peft adapts with all linear layers, and which may have no weights
        if own is None or set(change.factors) - {"magnitude_vector"} != {"A", "B"}:
            raise CheckpointError(
                f"{path} adapts {short(change.module)}, which its encoder does not have; "
                "name the model it was trained on with --encoder"
            )
        weight: Any = modules[own].weight
        delta = _delta(change, scale, own)
        if delta.shape != weight.shape:
            raise CheckpointError(
                f"{path} changes {short(own)} by {tuple(delta.shape)}, its encoder has {tuple(weight.shape)}; "
                "name the model it was trained on with --encoder"
            )
        with torch.no_grad():
            weight += delta.to(weight.dtype)
            if "magnitude_vector" in change.factors:
                _stretch(weight, change, scale)


def _delta(change: LowRank, scale: Scale, own: str) -> Tensor:
    factors = {name: tensor.float() for name, tensor in fetch(change.factors).items()}
    product: Tensor = factors["B"] @ factors["A"] * scale.of(own, factors["A"].shape[0])
    return product.T if change.is_embedding or scale.is_transposed else product


def _stretch(weight: Tensor, change: LowRank, scale: Scale) -> None:
    """Gives what each output is made of the length that was trained for it (DoRA, Liu et al. 2024)."""
    lengths = fetch(change.factors)["magnitude_vector"].float().flatten()
    across = 0 if change.is_embedding or scale.is_transposed else 1
    norms = weight.float().norm(dim=across)
    weight *= (lengths / norms).unsqueeze(across).to(weight.dtype)


def _own_name(name: str, modules: Mapping[str, nn.Module]) -> str | None:
    """The longest end of a name that is a module's, which has a weight."""
    return next((end for end in ends_of(name) if isinstance(getattr(modules.get(end), "weight", None), Tensor)), None)
