"""Fine-tunes all-MiniLM-L6-v2 on pairs with SentenceTransformerTrainer, looked at after every epoch.

    pip install "embviz-callback[sentence-transformers]"
    python examples/sentence_transformer.py --data train.json --val val.json

Without files it trains on invented rental pairs. It is written for sentence-transformers 6; in version 5
the imports leave out ".sentence_transformer".
"""

from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.training_args import BatchSamplers

from embviz_callback import MarginAlert
from embviz_callback.adapters.transformers import EmbvizTrainerCallback
from rental_data import load, options


def main() -> None:
    """Trains, and keeps the checkpoint with the highest margin."""
    given = options("SentenceTransformerTrainer with EmbvizTrainerCallback")
    pairs, validation = load(given)
    model = SentenceTransformer(given.model)
    arguments = SentenceTransformerTrainingArguments(
        output_dir=given.output,
        num_train_epochs=given.epochs,
        per_device_train_batch_size=given.batch_size,
        # In-batch negatives: a document that answers two queries of a batch would be a negative of both.
        batch_sampler=BatchSamplers.NO_DUPLICATES,
        warmup_steps=4,
        logging_strategy="epoch",
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="embviz/merit",
        report_to=["tensorboard"],
    )
    data = Dataset.from_list(pairs)
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments,
        train_dataset=data,
        eval_dataset=data.select(range(min(64, len(data)))),  # an evaluation of the trainer's is what chooses the best
        loss=MultipleNegativesRankingLoss(model),
    )
    visualizer = EmbvizTrainerCallback(validation, alert=MarginAlert(0.25), skip_umap=given.skip_umap).attach(trainer)
    trainer.train()
    model.save_pretrained(f"{given.output}/final")
    print(f"margin of the best epoch: {trainer.state.best_metric:.4f}; report: {visualizer.folder}/report.html")


if __name__ == "__main__":
    main()
