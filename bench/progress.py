"""What a running task says of itself, on its way from the worker to the screen."""

from bench.records import Epoch, Record


class Progress(Record):
    """What a running trial says of itself.

    Attributes:
        stage: ``images``, ``weights``, ``activations``, ``phase 1``, ``phase 2`` or ``test``.
        epoch, epochs: from 1; both 0 outside the phases. Phase 2 goes on counting from phase 1.
        step, steps: training steps done in this epoch, or pictures decoded.
        epoch_done: what the epoch measured, once it has ended.
    """

    stage: str
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps: int = 0
    epoch_done: Epoch | None = None
