"""What a user says of a checkpoint: one value from the options of a command down to the files."""

from dataclasses import dataclass
from typing import Any

_NO_SETTINGS = ("encoder", "device", "document_encoder", "cache")


@dataclass(frozen=True)
class Serving:
    """What a user says of a checkpoint that it does not say of itself, or says otherwise.

    Attributes:
        encoder: Where the checkpoint does not name one, or another than it names; of an adapter the model it adapts.
            A directory of any other kind has its own.
        device: As torch calls it.
        pooling: One of `POOLINGS`; None for what the checkpoint says, else the mean.
        max_length: Tokens per text; None for what the checkpoint says, else 256.
        query_prompt: None for what the checkpoint says; "" for none.
        document_prompt: Likewise.
        tokenizer: Name or path of another tokenizer than the encoder's own.
        dtype: Of the encoder's weights, "float32", "bfloat16", "float16", or "auto" for that of the checkpoint.
        prefix: Where several encoders fit a file, what stands before the names of the one that is meant.
        head_activation: What stands between the layers of a head that has several; one of `ACTIVATIONS`.
        lora_alpha: Of LoRA weights in a file that does not say it.
        similarity: By which vectors are to be compared; None for what the checkpoint declares. Where it is not the
            cosine, vectors that nothing says to scale to length 1 are left as they are.
        document_encoder: The checkpoint that encodes documents; None for the one of queries.
        cache: Keep the encoder's features, and take those that an earlier run kept.
    """

    encoder: str | None = None
    device: str = "cpu"
    pooling: str | None = None
    max_length: int | None = None
    query_prompt: str | None = None
    document_prompt: str | None = None
    tokenizer: str | None = None
    dtype: str = "float32"
    prefix: str | None = None
    head_activation: str | None = None
    lora_alpha: float | None = None
    similarity: str | None = None
    document_encoder: str | None = None
    cache: bool = True

    @property
    def said(self) -> dict[str, Any]:
        """Name to value of what goes before the checkpoint's own settings."""
        return {name: value for name, value in vars(self).items() if value is not None and name not in _NO_SETTINGS}
