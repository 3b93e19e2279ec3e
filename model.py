"""The bi-encoder that is fine-tuned: encoder, pooling, projection head, weighted InfoNCE."""

import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm.auto import tqdm

from embviz_callback import EmbeddingVisualizer
from embviz_callback.drawing.wording import worth
from embviz_callback.encoding.cache.cached_features import CachedFeatures
from embviz_callback.encoding.cache.feature_store import default_cache_folder
from embviz_callback.encoding.cache.fingerprints import state_sha256
from embviz_callback.encoding.models.biencoder import BiEncoder, ProjectionHead, load_backbone
from embviz_callback.encoding.models.self_pooling import CharNgrams
from pair_dataset import PairBatch


def weighted_info_nce(
    queries: Tensor,
    documents: Tensor,
    *,
    equivalent: Tensor,
    hard_negatives: Tensor | None = None,
    hard_weights: Tensor | None = None,
    hard_owner: Tensor | None = None,
    hard_equivalent: Tensor | None = None,
    temperature: float = 0.07,
) -> Tensor:
    """Symmetric InfoNCE with weighted hard negatives (van den Oord et al. 2018; Radford et al. 2021).

    From query to document, the denominator holds the query's own document, every document of the
    batch that does not answer it too, and its own hard negatives, each ``exp(similarity)`` of
    which is multiplied by its weight. From document to query there are no hard negatives.

    Args:
        queries: ``(n, dim)``, unit rows.
        documents: ``(n, dim)``, row i answers query i.
        equivalent: ``(n, n)`` bool, document j answers query i as well; the diagonal does not matter.
        hard_negatives: ``(k, dim)``, or None.
        hard_weights: ``(k,)``, at least 0; 0 leaves a hard negative out.
        hard_owner: ``(k,)``, the query row that a hard negative belongs to.
        hard_equivalent: ``(n, k)`` bool, hard negative j answers query i and is no negative of it.
        temperature: Divides the cosines.

    Returns:
        The mean loss of both directions, a scalar.
    """
    own = torch.eye(len(queries), dtype=torch.bool, device=queries.device)
    logits = (queries @ documents.T / temperature).masked_fill(equivalent & ~own, -torch.inf)
    target = torch.arange(len(queries), device=queries.device)
    backward = cross_entropy(logits.T, target)
    if hard_negatives is not None and hard_weights is not None and hard_owner is not None and len(hard_negatives):
        # A weight multiplies exp(logit), so its logarithm is added: no overflow, whatever the weight.
        hard_logits = queries @ hard_negatives.T / temperature + hard_weights.log()
        foreign = hard_owner.unsqueeze(0) != target.unsqueeze(1)
        if hard_equivalent is not None:
            foreign = foreign | hard_equivalent
        logits = torch.cat([logits, hard_logits.masked_fill(foreign, -torch.inf)], dim=1)
    return (cross_entropy(logits, target) + backward) / 2


class RentalBiEncoder(pl.LightningModule):
    """A Hugging Face encoder with a projection head, trained on pairs with hard negatives.

    Args:
        encoder: Hub name, local directory, or "char-ngrams-<width>" for the built-in one.
        revision: Branch, tag or commit of a hub encoder.
        dim: Size of the embedding.
        layer_norm: Layer norm behind the linear map of the head.
        pooling: One of embviz_callback.encoding.models.biencoder.POOLINGS, such as "mean" or "cls".
        max_length: Tokens per text.
        freeze_encoder: Train the head alone.
        query_prompt: Text before every query ("query: " for E5).
        document_prompt: Text before every document.
        learning_rate: Peak of the schedule.
        weight_decay: Of AdamW.
        warmup_share: Share of all steps over which the learning rate rises from 0, 0 to 1.
        temperature: Of the loss.
        full_checkpoints: Store a frozen encoder in every checkpoint instead of referring to it.
        feature_cache: Compute a frozen encoder's features once per text.
        cache_dir: Where features are kept between runs; None is the user's cache folder, "" keeps
            them in memory.
    """

    def __init__(
        self,
        encoder: str = "BAAI/bge-m3",
        revision: str | None = None,
        dim: int = 256,
        layer_norm: bool = False,
        pooling: str = "mean",
        max_length: int = 128,
        freeze_encoder: bool = True,
        query_prompt: str = "",
        document_prompt: str = "",
        learning_rate: float = 2e-4,
        weight_decay: float = 0.01,
        warmup_share: float = 0.1,
        temperature: float = 0.07,
        full_checkpoints: bool = False,
        feature_cache: bool = True,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        backbone = load_backbone(encoder, revision=revision)
        self.encoder = backbone.encoder
        self.head = ProjectionHead(backbone.dim, dim, layer_norm=layer_norm)
        self.encoder.requires_grad_(not freeze_encoder)
        # In a list, so that its parameters are not registered a second time under another name.
        bi_encoder = BiEncoder(backbone, self.head, pooling=pooling, max_length=max_length)
        self._bi_encoder = [bi_encoder]
        root = default_cache_folder() if cache_dir is None else Path(cache_dir) if cache_dir else None
        # The built-in encoder is cheaper to run than its wide features are to keep.
        cached = feature_cache and freeze_encoder and not isinstance(self.encoder, CharNgrams)
        self._cache = CachedFeatures(bi_encoder, root) if cached else None

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Unit embeddings of texts, ``(n, dim)``, on the module's device."""
        bi_encoder = self._bi_encoder[0]
        return bi_encoder.project(bi_encoder.features(texts) if self._cache is None else self._cache(texts))

    def on_fit_start(self) -> None:
        """Computes the features of all training and validation texts, each once, before the first step."""
        source: Any = getattr(self.trainer, "datamodule", None)
        if self._cache is None or self._cache.why_not() or not hasattr(source, "texts"):
            return
        queries, documents = source.texts()
        prompted = [self.hparams["query_prompt"] + text for text in queries]
        prompted += [self.hparams["document_prompt"] + text for text in documents]
        missing = self._cache.store().missing(prompted)
        # Every rank takes a share; what the others wrote is read back from disk, or computed when it is needed.
        share = missing[self.trainer.global_rank :: self.trainer.world_size]
        with tqdm(total=len(share), desc="encoding once", unit=" texts", disable=not sys.stderr.isatty()) as bar:
            self._cache.compute(share, progress=lambda done, _total: _advance(bar, done))
        self._cache.flush()
        self.trainer.strategy.barrier("features")
        self._cache.store().reload()

    def on_train_epoch_start(self) -> None:
        """Makes sure that the frozen encoder is still the one whose features are kept."""
        if self._cache is not None:
            self._cache.verify()

    def on_fit_end(self) -> None:
        """Keeps features that were computed on the way."""
        if self._cache is not None:
            self._cache.flush()

    def train(self, mode: bool = True) -> "RentalBiEncoder":
        """Sets the mode; a frozen encoder stays in eval mode, since dropout would change its features."""
        super().train(mode)
        if self.hparams["freeze_encoder"]:
            self.encoder.eval()
        return self

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        """The loss of one batch of pairs."""
        loss = self._loss(batch)
        self.log("train_loss", loss, prog_bar=True, on_step=True, on_epoch=True, batch_size=len(batch.queries))
        return loss

    def validation_step(self, batch: PairBatch, batch_idx: int) -> None:
        """Logs ``val_loss``, the mean over the validation pairs."""
        self.log("val_loss", self._loss(batch), prog_bar=True, batch_size=len(batch.queries), sync_dist=True)

    def _loss(self, batch: PairBatch) -> Tensor:
        queries = [self.hparams["query_prompt"] + text for text in batch.queries]
        documents = [self.hparams["document_prompt"] + text for text in (*batch.positives, *batch.hard_negatives)]
        # One forward pass for all texts, so that a frozen encoder's kernels stay full.
        rows = self.encode([*queries, *documents])
        query_rows, positive_rows, hard_rows = rows.split([  # type: ignore[no-untyped-call]
            len(batch.queries),
            len(batch.positives),
            len(batch.hard_negatives),
        ])
        return weighted_info_nce(
            query_rows,
            positive_rows,
            equivalent=batch.equivalent.to(rows.device),
            hard_negatives=hard_rows,
            hard_weights=batch.hard_weights.to(rows.device),
            hard_owner=batch.hard_owner.to(rows.device),
            hard_equivalent=batch.hard_equivalent.to(rows.device),
            temperature=self.hparams["temperature"],
        )

    def configure_optimizers(self) -> Any:
        """AdamW over what is trained, with linear warm-up and linear decay to 0."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(
            trained, lr=self.hparams["learning_rate"], weight_decay=self.hparams["weight_decay"]
        )
        n_steps = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, _Ramp(n_steps=max(1, n_steps), n_warmup=int(self.hparams["warmup_share"] * n_steps))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leaves a frozen encoder out: it is named in the hyperparameters and 2.3 GB large."""
        if self._refers_to_encoder:
            checkpoint["state_dict"] = _without_encoder(checkpoint["state_dict"])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Puts the loaded encoder back where a checkpoint only refers to it."""
        if self._refers_to_encoder:
            own = {f"encoder.{name}": tensor for name, tensor in self.encoder.state_dict().items()}
            checkpoint["state_dict"] = own | checkpoint["state_dict"]

    @property
    def _refers_to_encoder(self) -> bool:
        return bool(self.hparams["freeze_encoder"]) and not self.hparams["full_checkpoints"]

    def deployable(self) -> dict[str, Any]:
        """What ``best_model.pt`` holds of the model, in plain types.

        Returns:
            ``model_state_dict`` (without a frozen encoder, unless full checkpoints are wanted) and
            the ``config`` from which any loader can rebuild the model.
        """
        state = {name: tensor.detach().cpu() for name, tensor in self.state_dict().items()}
        names = ("encoder", "revision", "dim", "layer_norm", "pooling", "max_length", "query_prompt", "document_prompt")
        config: dict[str, Any] = {name: self.hparams[name] for name in names}
        if self._refers_to_encoder:
            state = _without_encoder(state)
            config["encoder_sha256"] = self._encoder_sha256()
        return {"model_state_dict": state, "config": config}

    def _encoder_sha256(self) -> str:
        """Hash of the frozen encoder's weights, computed once: they do not change."""
        if not hasattr(self, "_frozen_sha256"):
            self._frozen_sha256 = state_sha256(self.encoder)
        return self._frozen_sha256


def _advance(bar: Any, done: int) -> None:
    bar.update(done - bar.n)


class _Ramp:
    """Learning-rate factor: up to 1 over the warm-up, then down to 0; a class, so that it can be pickled."""

    def __init__(self, *, n_steps: int, n_warmup: int) -> None:
        self.n_steps, self.n_warmup = n_steps, n_warmup

    def __call__(self, step: int) -> float:
        if step < self.n_warmup:
            return (step + 1) / (self.n_warmup + 1)
        return max(0.0, (self.n_steps - step) / max(1, self.n_steps - self.n_warmup))


def _without_encoder(state: dict[str, Any]) -> dict[str, Any]:
    return {name: tensor for name, tensor in state.items() if not name.startswith("encoder.")}


class BestModel(pl.Callback):
    """Writes ``best_model.pt`` whenever an epoch is the best so far by the rule of `embviz compare`.

    The highest nDCG@10 where documents carry grades or a query has several, else the highest MRR (or what the
    callback's `metric` says), and of those that are the same the highest separation: ``embviz/merit`` says all this in
    one number. Margin would prefer a model that only stretches its scores.

    Args:
        path: The file, replaced in one step so that a killed run leaves a whole one.
    """

    def __init__(self, path: str = "best_model.pt") -> None:
        self.path = Path(path)
        self.best: float | None = None

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compares this epoch with the best one; needs the callback's metrics, so stands behind it."""
        found = trainer.callback_metrics
        if "embviz/merit" not in found or not isinstance(pl_module, RentalBiEncoder):
            return
        if self.is_better(float(found["embviz/merit"])) and trainer.is_global_zero:
            names = ("mrr", "ndcg_at_10", "separation", "margin", "rank1")
            self._write(trainer, pl_module, {name: float(found[f"embviz/{name}"]) for name in names})

    def is_better(self, merit: float) -> bool:
        """Whether this beats the best so far, which it then is; NaN beats nothing."""
        if math.isnan(merit) or (self.best is not None and merit <= self.best):
            return False
        self.best = merit
        return True

    def _write(self, trainer: pl.Trainer, pl_module: RentalBiEncoder, metrics: dict[str, float]) -> None:
        loss = trainer.callback_metrics.get("val_loss", trainer.callback_metrics.get("train_loss_epoch"))
        content = pl_module.deployable() | {
            "epoch": trainer.current_epoch,
            "loss": None if loss is None else float(loss),
            "metrics": metrics,
        }
        watchers = (one.best for one in trainer.callbacks if isinstance(one, EmbeddingVisualizer))  # type: ignore[attr-defined]
        best = next(watchers, None)
        # The first epoch is kept even where the untrained model is better.
        if best is not None and best.place == best.among - 1:
            content["config"] = {**content["config"], "chosen": worth(best)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        torch.save(content, unfinished)
        unfinished.replace(self.path)

    def state_dict(self) -> dict[str, Any]:
        """The best score so far, so that a resumed run does not overwrite a better file."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes the best score over from a checkpoint."""
        best = state_dict["best"]
        self.best = best[0] if isinstance(best, list) else best  # a list where there was no merit
