"""Train the networks that chapters load, and store them in chapters/trained: `python -m tools.train_networks NAME`.

"fashion" is chapter 06's, "reuse" and "reuse_without_decay" are chapter 14's, and "living" is chapter 18's and runs in
the page "The living network". Beside each stands how it came about. A training that was stopped goes on where it was.
"""

import datetime
import sys
from pathlib import Path
from typing import NamedTuple

# Before mxnet, which reads the number of threads when it is imported.
from utils.data import FashionMNIST
from utils.densenet import DenseNet
from utils.reuse import PLAIN_SPEC
from utils.runtime import SEED, machine
from utils.spec import Spec, cifar_spec, stored_spec
from utils.training import WEIGHT_DECAY, Trainer, one_cycle

# isort: split
import mxnet as mx

TRAINED = Path(__file__).parent.parent / "chapters" / "trained"


class Recipe(NamedTuple):
    """How a network is trained, at a peak learning rate of 0.1."""

    spec: Spec
    epochs: int
    batch_size: int
    pad: int
    weight_decay: float
    augment: bool = False


RECIPES = {
    "fashion": Recipe(stored_spec, epochs=30, batch_size=64, pad=0, weight_decay=WEIGHT_DECAY, augment=True),
    "living": Recipe(cifar_spec(10, 8), epochs=6, batch_size=32, pad=0, weight_decay=WEIGHT_DECAY),
    # The paper's decay of 1e-4 has 300 epochs to shrink the weights that nothing holds; here, few have to do.
    "reuse": Recipe(PLAIN_SPEC, epochs=3, batch_size=128, pad=2, weight_decay=1e-2),
    "reuse_without_decay": Recipe(PLAIN_SPEC, epochs=3, batch_size=128, pad=2, weight_decay=0),
}


def main(name: str) -> None:
    """Train, store the weights, and write down beside them how they came about."""
    recipe = RECIPES[name]
    mx.npx.set_np()
    mx.random.seed(SEED)
    data = FashionMNIST(recipe.batch_size, pad=recipe.pad, augment=recipe.augment)
    net, checkpoint = DenseNet(recipe.spec, lr=0.1), TRAINED / f"{name}.checkpoint"
    trainer = Trainer(recipe.epochs, one_cycle, recipe.weight_decay, checkpoint=checkpoint)
    trainer.fit(net, data)
    net.save_parameters(str(TRAINED / f"{name}.params"))
    history = trainer.history
    accuracies = " ".join(f"{accuracy:.4f}" for accuracy in history["val_acc"])
    text = (
        f"Trained with seed {SEED} for {recipe.epochs} epochs in {sum(history['seconds']):.0f} seconds\n"
        f"on {machine()},\n"
        f"on {datetime.date.today().isoformat()}; validation accuracy after each epoch:\n"
        f"{accuracies}\n"
    )
    (TRAINED / f"{name}.txt").write_text(text)
    checkpoint.unlink()
    print(text, end="")


if __name__ == "__main__":
    if sys.argv[1:] not in ([name] for name in RECIPES):
        sys.exit(f"Name a network: {' or '.join(RECIPES)}.")
    main(sys.argv[1])
