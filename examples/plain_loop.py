"""The same in a training loop of your own: PyTorch and nothing else.

pip install embviz-callback
python examples/plain_loop.py --data train.json --val val.json
"""

from pathlib import Path

import torch
from torch.nn.functional import cross_entropy, normalize
from torch.utils.tensorboard import SummaryWriter
from transformers import AutoModel, AutoTokenizer

from embviz_callback import text_encoder
from embviz_callback.adapters import EmbvizEvaluator
from rental_data import load, options


def main() -> None:
    """Trains by in-batch negatives, with numbers and figures after every epoch."""
    given = options("A plain PyTorch loop with EmbvizEvaluator")
    pairs, validation = load(given)
    model = AutoModel.from_pretrained(given.model)
    encode, _ = text_encoder(AutoTokenizer.from_pretrained(given.model), pooling="mean", max_length=64)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-5)
    writer = SummaryWriter(given.output)
    look = EmbvizEvaluator(
        validation, encode=encode, output_dir=Path(given.output, "embviz"), skip_umap=given.skip_umap
    )
    look(model, epoch=None)  # the untrained model, against which every report compares
    step = 0
    for epoch in range(given.epochs):
        order = torch.randperm(len(pairs)).tolist()
        for batch in torch.tensor(order).split(given.batch_size):
            queries, documents = ([pairs[row][side] for row in batch.tolist()] for side in ("query", "pos"))
            scores = normalize(encode(model, queries)) @ normalize(encode(model, documents)).T / 0.05
            loss = cross_entropy(scores, torch.arange(len(scores)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            step += 1
        for name, value in look(model, epoch=epoch).items():
            writer.add_scalar(name.replace("embviz_", "embviz/"), value, step)
    look.finish()  # waits for the last figures
    print(f"report: {look.folder}/report.html")


if __name__ == "__main__":
    main()
