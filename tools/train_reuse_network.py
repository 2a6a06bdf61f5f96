"""Train the network of chapter 13 and store it in chapters/trained: `python -m tools.train_reuse_network`."""

import datetime
from pathlib import Path

# Before mxnet, which reads the number of threads when it is imported.
from utils.data import FashionMNIST
from utils.densenet import DenseNet
from utils.reuse import PLAIN_SPEC
from utils.runtime import SEED, machine
from utils.training import Trainer, one_cycle

# isort: split
import mxnet as mx

LR, EPOCHS, BATCH_SIZE = 0.1, 3, 128
# The paper's 1e-4 has 300 epochs to shrink the weights that nothing holds; here, few have to do.
WEIGHT_DECAY = 1e-2
STORED = Path(__file__).parent.parent / "chapters" / "trained" / "reuse.params"


def main() -> None:
    """Train, store the weights, and write down beside them how they came about."""
    mx.npx.set_np()
    mx.random.seed(SEED)
    net, trainer = DenseNet(PLAIN_SPEC, lr=LR), Trainer(EPOCHS, one_cycle, WEIGHT_DECAY)
    trainer.fit(net, FashionMNIST(batch_size=BATCH_SIZE, pad=2))
    net.save_parameters(str(STORED))
    history = trainer.history
    text = (
        f"Trained with seed {SEED} for {EPOCHS} epochs in {sum(history['seconds']):.0f} seconds\n"
        f"on {machine()},\n"
        f"on {datetime.date.today().isoformat()}; validation accuracy {history['val_acc'][-1]:.4f}.\n"
    )
    STORED.with_suffix(".txt").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
