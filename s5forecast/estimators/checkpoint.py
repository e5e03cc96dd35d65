"""State of a training in a folder, from which an interrupted training resumes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint

from s5forecast.manifest import write_whole
from s5forecast.windows.batches import TrainingWindows

# Files of an interrupted and of a finished training.
STATE, TRAINED = "training.ckpt", "trained.ckpt"


class TrainingCheckpoint(Checkpoint):
    """Writes the state of a training to a folder after every epoch.

    It includes the states of the random numbers, so that on a CPU a resumed training has the weights of an
    uninterrupted one.

    Args:
        folder: folder, which is created.
        windows: training windows.
    """

    def __init__(self, folder: str | Path, windows: TrainingWindows) -> None:
        self.folder, self._windows = Path(folder), windows
        self._restored: dict[str, torch.Tensor] | None = None
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def ckpt_path(self) -> Path | None:
        """The checkpoint to resume from, if there is one."""
        return self.folder / STATE if (self.folder / STATE).exists() else None

    def load_trained(self, module: pl.LightningModule) -> bool:
        """Load the weights of a finished training; False if it is not finished."""
        if not (self.folder / TRAINED).exists():
            return False
        module.load_state_dict(torch.load(self.folder / TRAINED, map_location="cpu", weights_only=True))
        return True

    def finish(self, module: pl.LightningModule) -> None:
        """Replace the state of the training by the final weights."""
        write_whole(self.folder / TRAINED, lambda temporary: torch.save(module.state_dict(), temporary))
        (self.folder / STATE).unlink(missing_ok=True)

    @staticmethod
    def check(trainer: pl.Trainer) -> None:
        """Raise ValueError for a training in several processes."""
        if trainer.world_size > 1:
            raise ValueError(
                "checkpoint= requires training in one process; leave it out, or leave out devices= and strategy= in "
                "trainer_kwargs"
            )

    def state_dict(self) -> dict[str, Any]:
        self._windows.close()
        return {"windows": self._windows.generator.get_state(), "global": torch.get_rng_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._restored = state_dict

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self._restored is not None:
            self._windows.generator.set_state(self._restored["windows"].cpu())
            torch.set_rng_state(self._restored["global"].cpu())

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if not trainer.should_stop:  # otherwise the weights are final
            write_whole(self.folder / STATE, trainer.save_checkpoint)
