"""Pairs for training: dataset, collate and data module over embviz_callback.pairs, and the commands that make them."""

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, Self

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from embviz_callback.commands.arguments import Parser
from embviz_callback.commands.options import add_reading_options
from embviz_callback.commands.request import reading_of
from embviz_callback.demo.rental_pairs import MOST_PAIRS, generate_pairs
from embviz_callback.files import write_atomically
from embviz_callback.grammar import counted
from embviz_callback.pairs.formats.reading import DataError, HardNegative, Reading, Record, read_pairs
from embviz_callback.pairs.relevance import components, positives_by_query
from embviz_callback.pairs.texts import fold

# Light by itself, for commands that must not wait for torch; found here by whoever looks for it here.
from examples.rental_features import extract_features as extract_features

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """One item: a query, one document that answers it, and what must not be taken for a negative of it.

    Attributes:
        query: As in the data.
        positive: One of the record's documents.
        hard_negatives: None of them equal to a positive of the query.
        answers: Folded texts of all positives that the query has anywhere in the dataset.
    """

    query: str
    positive: str
    hard_negatives: tuple[HardNegative, ...]
    answers: frozenset[str]


@dataclass(frozen=True, eq=False)
class PairBatch:
    """What one training step needs, B pairs with K hard negatives in all.

    Attributes:
        queries: B texts.
        positives: B texts, the document of each query.
        hard_negatives: K texts, those of the first query first.
        hard_weights: ``(K,)`` float32.
        hard_owner: ``(K,)`` int64, row of the query that a hard negative belongs to.
        equivalent: ``(B, B)`` bool, document j answers query i; the diagonal is True.
        hard_equivalent: ``(B, K)`` bool, hard negative j equals a document that answers query i.
    """

    queries: list[str]
    positives: list[str]
    hard_negatives: list[str]
    hard_weights: Tensor
    hard_owner: Tensor
    equivalent: Tensor
    hard_equivalent: Tensor

    def __len__(self) -> int:
        return len(self.queries)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The batch with its tensors on a device; the Trainer calls this."""
        names = ("hard_weights", "hard_owner", "equivalent", "hard_equivalent")
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=non_blocking) for name in names})


class PairDataset(Dataset[Pair]):
    """Every (query, positive) pair of some records, in their order.

    A record with several positives gives several items, so that each is seen once an epoch without
    any state that workers or ranks would have to share.

    Args:
        records: At least one.
        max_hard_negatives: Most hard negatives per item; the heaviest stay, then the first.

    Raises:
        ValueError: If there is no record or the number is negative.
    """

    def __init__(self, records: Sequence[Record], *, max_hard_negatives: int = 4) -> None:
        if not records:
            raise ValueError("records must not be empty")
        if max_hard_negatives < 0:
            raise ValueError(f"max_hard_negatives must be at least 0, got {max_hard_negatives}")
        self._items = [(record, positive) for record in records for positive in record.positives]
        self._answers = {query: frozenset(map(fold, texts)) for query, texts in positives_by_query(records).items()}
        self._max_hard_negatives = max_hard_negatives

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Pair:
        record, positive = self._items[index]
        answers = self._answers[fold(record.query)]
        hard = [negative for negative in record.hard_negatives if fold(negative.text) not in answers]
        heaviest = sorted(hard, key=lambda negative: -negative.weight)[: self._max_hard_negatives]
        return Pair(record.query, positive, tuple(heaviest), answers)


def collate(pairs: Sequence[Pair]) -> PairBatch:
    """A batch of pairs; one of a single pair has no negatives but its hard ones."""
    owned = [(row, negative) for row, pair in enumerate(pairs) for negative in pair.hard_negatives]
    documents = [fold(pair.positive) for pair in pairs]
    negatives = [fold(negative.text) for _, negative in owned]
    return PairBatch(
        queries=[pair.query for pair in pairs],
        positives=[pair.positive for pair in pairs],
        hard_negatives=[negative.text for _, negative in owned],
        hard_weights=torch.tensor([negative.weight for _, negative in owned], dtype=torch.float32),
        hard_owner=torch.tensor([row for row, _ in owned], dtype=torch.int64),
        equivalent=_are_answers(pairs, documents),
        hard_equivalent=_are_answers(pairs, negatives),
    )


def _are_answers(pairs: Sequence[Pair], folded: Sequence[str]) -> Tensor:
    rows = [[text in pair.answers for text in folded] for pair in pairs]
    return torch.tensor(rows, dtype=torch.bool).reshape(len(pairs), len(folded))


def split_pairs(
    records: Sequence[Record], *, validation_share: float, seed: int
) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Training and validation records without a text, or an id, that is on both sides.

    Records that share a query, a positive or an id, directly or by way of others, stay together.
    Guaranteed for queries and positives, in either role; a hard negative of a training record may
    still equal a positive of validation (see `without_texts_of`). Which records go where depends on
    the seed and the texts, not on the order of the records.

    Args:
        records: At least one.
        validation_share: Share of the records to hold out, above 0 and below 1; rarely exact, since
            what belongs together is never cut.
        seed: Chooses which.

    Returns:
        Training and validation records, each in the given order; no validation records if all
        hang together.

    Raises:
        ValueError: If the share is out of range.
    """
    if not 0 < validation_share < 1:
        raise ValueError(f"validation_share must be above 0 and below 1, got {validation_share}")
    clusters = _clusters(records, seed)
    room = min(max(1, round(validation_share * len(records))), len(records) - 1)  # never all of them
    held_out: set[int] = set()
    for rows in clusters:
        if len(held_out) + len(rows) <= room:
            held_out.update(rows)
    if not held_out and len(clusters) > 1:  # every cluster is larger than the share
        smallest = min(clusters, key=len)
        held_out.update(smallest)
    numbered = list(enumerate(records))
    training = tuple(record for row, record in numbered if row not in held_out)
    return training, tuple(record for row, record in numbered if row in held_out)


def _clusters(records: Sequence[Record], seed: int) -> list[list[int]]:
    """Rows of the records that belong together, in an order drawn from the seed and the texts."""
    folded = [[fold(text) for text in record.texts] for record in records]
    ids = [[] if record.id is None else [("id", record.id)] for record in records]
    rows_of: dict[int, list[int]] = {}
    for row, cluster in enumerate(components([*texts, *own] for texts, own in zip(folded, ids, strict=True))):
        rows_of.setdefault(cluster, []).append(row)
    least = {cluster: min(text for row in rows for text in folded[row]) for cluster, rows in rows_of.items()}
    drawn = {cluster: hashlib.sha256(f"{seed}\0{text}".encode()).digest() for cluster, text in least.items()}
    return [rows_of[cluster] for cluster in sorted(rows_of, key=drawn.__getitem__)]


def without_texts_of(records: Sequence[Record], others: Iterable[Record]) -> tuple[Record, ...]:
    """The records of which no query or positive occurs in `others`, be it as query, positive or hard negative."""
    seen: set[str] = set()
    for other in others:
        seen.update(map(fold, other.texts), (fold(negative.text) for negative in other.hard_negatives))
    return tuple(record for record in records if seen.isdisjoint(map(fold, record.texts)))


class PairDataModule(pl.LightningDataModule):
    """Training and validation pairs from files or folders of any form (docs/data.md).

    Args:
        train_path: One or several, read as one; of a folder with splits the training split.
        val_path: Validation data, of a folder the validation or test split; without, a share of the training records
            is held out.
        validation_share: The share to hold out, above 0 and below 1; see `split_pairs`.
        batch_size: Pairs per step, at least 1. The last batch is kept, even if it is a single pair, which
            has no negatives but its hard ones.
        max_hard_negatives: Most hard negatives per pair, the heaviest first.
        num_workers: Processes that load batches; 0 loads in the training process.
        seed: Holds out records and shuffles the training pairs, without touching the global generators.
        drop_seen_validation: Leave out validation records whose query or positive occurs anywhere in the
            training records, and say how many.
        generate: Rental pairs to generate at `train_path` where there is no such file; 0 never does.
        reading: How both are read where it cannot be recognised, or should be read otherwise; its `split` is that of
            the validation data.

    Raises:
        ValueError: If there is no batch size, or several files are to be generated.
    """

    def __init__(
        self,
        train_path: str | list[str],
        val_path: str | None = None,
        *,
        validation_share: float = 0.1,
        batch_size: int = 128,
        max_hard_negatives: int = 4,
        num_workers: int = 0,
        seed: int = 7,
        drop_seen_validation: bool = True,
        generate: int = 0,
        reading: Reading | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self._train_paths = [train_path] if isinstance(train_path, str) else list(train_path)
        if len(self._train_paths) != 1 and (generate or not self._train_paths):
            raise ValueError(f"train_path must be one file{' to generate' * bool(generate)}, got {train_path}")
        self._val_path = val_path
        self._validation_share = validation_share
        self._batch_size = batch_size
        self._max_hard_negatives = max_hard_negatives
        self._num_workers = num_workers
        self._seed = seed
        self._drop_seen_validation = drop_seen_validation
        self._generate = generate
        self._reading = reading or Reading()
        self._training: tuple[Record, ...] = ()
        self._validation: tuple[Record, ...] = ()

    def prepare_data(self) -> None:
        """Generates the training file if that was asked for; runs in one process per machine."""
        path = Path(self._train_paths[0])
        if self._generate and not path.exists():
            write_pairs(path, generate_pairs(self._generate, seed=self._seed))

    def setup(self, stage: str | None = None) -> None:
        """Reads the files, once; all that is wrong with them comes up here.

        Raises:
            DataError: If no validation record is left.
        """
        if self._training:
            return
        for_training = replace(self._reading, split="train")
        training = tuple(record for path in self._train_paths for record in _read(path, for_training))
        if self._val_path is not None:
            validation = _read(self._val_path, self._reading)
        else:
            training, validation = split_pairs(training, validation_share=self._validation_share, seed=self._seed)
        if self._drop_seen_validation:
            validation = _drop_seen(validation, training)
        if not validation:
            raise DataError(
                f"{self._val_path or ', '.join(self._train_paths)}: no validation record is left, all share texts "
                "with the training records. Fix: give other data, or drop_seen_validation=False"
            )
        self._training, self._validation = training, validation

    def validation_pairs(self) -> tuple[Record, ...]:
        """The validation records, for a callback that chooses its subset from them."""
        self.setup()
        return self._validation

    def texts(self) -> tuple[list[str], list[str]]:
        """All distinct texts that training and validation will encode.

        Returns:
            Queries; positives and hard negatives.
        """
        self.setup()
        records = (*self._training, *self._validation)
        documents = (
            text
            for record in records
            for text in (*record.positives, *(negative.text for negative in record.hard_negatives))
        )
        return list(dict.fromkeys(record.query for record in records)), list(dict.fromkeys(documents))

    def train_dataloader(self) -> DataLoader[Pair]:
        """Shuffled batches of training pairs."""
        self.setup()
        return self._loader(self._training, shuffle=True)

    def val_dataloader(self) -> DataLoader[Pair]:
        """Batches of validation pairs, in order."""
        self.setup()
        return self._loader(self._validation, shuffle=False)

    def _loader(self, records: Sequence[Record], *, shuffle: bool) -> DataLoader[Pair]:
        return DataLoader(
            PairDataset(records, max_hard_negatives=self._max_hard_negatives),
            batch_size=self._batch_size,
            shuffle=shuffle,
            collate_fn=collate,
            num_workers=self._num_workers,
            # Without a generator of its own a loader draws from the global one, and the run depends on who looked.
            generator=torch.Generator().manual_seed(self._seed),
        )


def _read(path: str, reading: Reading) -> tuple[Record, ...]:
    file = read_pairs(path, reading)
    for note in file.notes:
        logger.info("%s: %s", path, note)
    return file.records


def _drop_seen(validation: tuple[Record, ...], training: tuple[Record, ...]) -> tuple[Record, ...]:
    unseen = without_texts_of(validation, training)
    if len(unseen) < len(validation):
        n_seen = len(validation) - len(unseen)
        logger.warning(
            "%d of %d validation records left out: their texts occur in the training data", n_seen, len(validation)
        )
    return unseen


def write_pairs(path: Path, items: Sequence[dict[str, Any]]) -> None:
    """Writes records as a JSON array, whole or not at all."""
    write_atomically(path, json.dumps(items, ensure_ascii=False, indent=1) + "\n")


class _Parser(Parser):
    """Answers a wrong argument in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def _parser() -> _Parser:
    parser = _Parser(prog="pair_dataset.py", description="Make a dataset of rental pairs.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=_Parser)
    generate = commands.add_parser("generate", help="invent rental pairs with known features")
    generate.add_argument("--n", type=int, required=True, help=f"pairs, 1 to {MOST_PAIRS:,}")
    generate.add_argument("--seed", type=int, default=7, help="equal seeds give equal bytes (default 7)")
    generate.add_argument("--hard-negatives", type=int, default=4, help="of each record, 0 to 10 (default 4)")
    generate.add_argument("--output", type=Path, required=True, help="JSON file to write")
    split = commands.add_parser("split", help="divide a dataset; equivalent texts stay on one side")
    split.add_argument("--input", type=Path, required=True, help="data of any form to read")
    split.add_argument("--train", type=Path, required=True, help="JSON file to write")
    split.add_argument("--val", type=Path, required=True, help="JSON file to write")
    split.add_argument("--validation-share", type=float, default=0.15, help="of the records (default 0.15)")
    split.add_argument("--seed", type=int, default=7, help="equal seeds give equal files (default 7)")
    add_reading_options(split)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs ``generate`` or ``split``; the exit status is 2 for what the user can mend."""
    options = _parser().parse_args(arguments)
    try:
        written = _split(options) if options.command == "split" else _generate(options)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"pair_dataset.py: {error}\n")
        return 2
    for path, count in written.items():
        sys.stdout.write(f"{counted(count, 'pair')} written to {path}\n")
    return 0


def _generate(options: argparse.Namespace) -> dict[Path, int]:
    items = generate_pairs(options.n, seed=options.seed, hard_negatives=options.hard_negatives)
    write_pairs(options.output, items)
    return {options.output: len(items)}


def _split(options: argparse.Namespace) -> dict[Path, int]:
    records = _read(str(options.input), reading_of(options))
    sides = split_pairs(records, validation_share=options.validation_share, seed=options.seed)
    for path, side in zip((options.train, options.val), sides, strict=True):
        write_pairs(path, [record.as_json() for record in side])
    return {options.train: len(sides[0]), options.val: len(sides[1])}


if __name__ == "__main__":
    sys.exit(main())
