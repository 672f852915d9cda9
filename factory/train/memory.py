"""How much memory and arithmetic a training step takes: pure functions of a model's shape, with nothing loaded or run.

Sizes are bytes, tokens are positions of a batch (padding is computed like the rest). What is kept for the backward pass
follows Korthikanti et al. 2022 (arXiv:2205.05198, section 4.1), who count what each operation of a layer stores; here
for layers as transformers runs them: RMS norms in float32, a gated feed-forward, and attention that never holds its
scores (SDPA), so that their term 5as/h is gone and the rest is linear in the tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from .shape import Shape

# Bits of a weight. nf4: 4, one 8-bit scale for 64 weights, one 32-bit scale for 256 of these (Dettmers et al. 2023,
# section 3): 4 + 8/64 + 32/(64·256) = 4.127.
BITS = {"fp32": 32.0, "bf16": 16.0, "int8": 8.0, "nf4": 4 + 8 / 64 + 32 / (64 * 256)}
# Bytes of the optimizer's state for a trained weight: two float32 moments, or two of 8 bits with a scale for 256.
MOMENTS = {"adamw": 8.0, "adamw_8bit": 2 + 8 / 256, "paged_adamw_8bit": 2 + 8 / 256, "adafactor": 0.0}
LOGITS = 2**25  # of a chunk of factory.train.cross_entropy; a test compares
LOGIT_BYTES = 12  # logits, or the gradient of them, their log-softmax and its gradient, in float32
LOW_RANK = ("lora", "qlora", "dora")
Loss = Literal["chunked", "whole", "none"]


@dataclass(frozen=True)
class Tuned:
    """Which weights are trained, by what optimizer, and how the base is stored (one of BITS).

    targets     names of matrices with a low-rank adapter, or `all-linear`
    layers      the last so many; None: all
    placements  of bottleneck adapters in a layer
    rows        of the embedding that are trained besides
    """

    method: str = "lora"
    base: str = "bf16"
    rank: int = 16
    dropout: float = 0.0
    targets: str | tuple[str, ...] = "all-linear"
    layers: int | None = None
    virtual_tokens: int = 16
    bottleneck: int = 64
    placements: int = 1
    rows: int = 0
    optimizer: str = "adamw"

    @property
    def whole(self) -> bool:
        """Whether weights of the base itself are updated, which are float32 then."""
        return self.method in ("full", "freeze")

    def adapted(self, shape: Shape) -> list[tuple[str, int, int]]:
        """The matrices of a layer that have a low-rank adapter."""
        if self.method not in LOW_RANK:
            return []
        return [one for one in shape.layer if self.targets == "all-linear" or one[0] in self.targets]

    def reached(self, shape: Shape) -> int:
        """Layers that the backward pass goes through; below the first with trained weights it stops."""
        return min(self.layers or shape.layers, shape.layers)


@dataclass(frozen=True)
class Batch:
    """What goes through the model at once: `rows` of `length` positions, a share of which have a loss.

    gpu        bfloat16 by autocast, else float32 throughout
    padded     there is an attention mask, for which transformers writes out keys and values for every head
    loss       chunked: factory.train.cross_entropy; whole: logits of all labelled tokens at once; none: another head
    recompute  gradient checkpointing: of a layer only its input is kept (section 5 of the paper)
    """

    rows: int
    length: int
    labelled_share: float = 1.0
    gpu: bool = True
    padded: bool = True
    loss: Loss = "chunked"
    recompute: bool = False

    @property
    def tokens(self) -> int:
        return self.rows * self.length

    @property
    def labelled(self) -> int:
        return math.ceil(self.tokens * self.labelled_share)

    @property
    def number(self) -> int:
        """Bytes of what a matrix product makes."""
        return 2 if self.gpu else 4


@dataclass(frozen=True)
class Need:
    """What a training step takes, by what it is for; `peak` is all that is there at once.

    Gradients grow while activations go, so the larger of the two counts, unless gradients of earlier batches of the
    same step are there already (`accumulated`).
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    cache: float = 0.0
    accumulated: bool = False

    @property
    def peak(self) -> float:
        passing = max(self.activations + self.logits, self.cache)
        moving = self.gradients + passing if self.accumulated else max(self.gradients, passing)
        return self.weights + self.optimizer + moving


def trained_weights(shape: Shape, tuned: Tuned) -> int:
    """How many weights are updated; what each method is stands in factory.train.methods."""
    hidden, tokens = shape.hidden, tuned.virtual_tokens
    kv = shape.kv_heads * shape.head_width
    low_rank = sum(
        tuned.rank * (wide + long) + (long if tuned.method == "dora" else 0) for _, wide, long in tuned.adapted(shape)
    )
    counts = {
        "full": shape.parameters,
        "freeze": tuned.reached(shape) * shape.layer_parameters,
        "prefix": tokens * shape.layers * 2 * kv,
        "prompt": tokens * hidden,
        "ptuning": tokens * hidden + 3 * (hidden * hidden + hidden),
        "ia3": shape.layers * (2 * kv + shape.inner),
        "adapter": shape.layers * tuned.placements * (2 * hidden * tuned.bottleneck + tuned.bottleneck + hidden),
        "bitfit": shape.layers * sum(long for _, _, long in shape.layer),
        "layernorm": shape.layers * sum(width // groups for width, groups in shape.norms) + hidden,
    }
    rows = tuned.rows * hidden * (2 if shape.head else 1)
    return counts.get(tuned.method, tuned.reached(shape) * low_rank) + rows


def weight_bytes(shape: Shape, tuned: Tuned, gpu: bool = True) -> float:
    """The base as it is stored, and what is added to it, in float32.

    Quantized are the matrices of the layers alone. On a GPU weights that are trained are float32, and autocast keeps
    bfloat16 copies of the matrices from the forward to the end of the backward pass.
    """
    plain = "bf16" if gpu else "fp32"
    if tuned.whole:
        copies = 2.0 * shape.worked if gpu else 0.0
        return 4.0 * shape.parameters + copies
    base = tuned.base if tuned.base in ("int8", "nf4") else plain
    rest = shape.parameters - shape.matrices
    return (shape.matrices * BITS[base] + rest * BITS[plain]) / 8 + 4.0 * trained_weights(shape, tuned)


def activation_bytes(shape: Shape, tuned: Tuned, batch: Batch) -> float:
    """What the forward pass keeps for the backward pass, in all layers that it goes through.

    With recomputation: the input of each layer, and all of the one that is being recomputed.
    """
    layer = layer_bytes(shape, tuned, batch)
    # a matrix in 4 or 8 bits is written out whole for its product
    written = max((wide * long for _, wide, long in shape.layer), default=0) * batch.number
    # after the last layer: its norm, the hidden states that the head takes and their gradient
    after = batch.tokens * (8 * shape.hidden + 4) + batch.labelled * 2 * shape.hidden * batch.number
    after += written if tuned.base in ("int8", "nf4") else 0
    reached = tuned.reached(shape)
    if not batch.recompute:
        return reached * layer + after
    stream = 4 if tuned.whole else batch.number
    return reached * batch.tokens * shape.hidden * stream + layer + after


def layer_bytes(shape: Shape, tuned: Tuned, batch: Batch) -> float:
    """What one layer keeps, for all tokens of a batch."""
    return batch.tokens * (
        _norms(shape, tuned) + _inputs(shape, tuned, batch) + _attention(shape, batch) + _feed_forward(shape, batch)
    )


def _norms(shape: Shape, tuned: Tuned) -> float:
    """Of a token: its input and its scale, and what a trained weight is multiplied with, all in float32."""
    learned = tuned.whole or tuned.method == "layernorm"
    return sum(4 * width * (2 if learned else 1) + 4 * groups for width, groups in shape.norms)


def _attention(shape: Shape, batch: Batch) -> float:
    """Of a token: queries, keys, values and what comes out, and the logarithm of each head's sum in float32."""
    keys = shape.heads if batch.padded else shape.kv_heads
    mask = batch.number * batch.length if batch.padded else 0  # the layer's own, as what is added to the scores
    scores = 8 * shape.heads * batch.length if shape.capped else 0  # the capped scores and their softmax, in float32
    return batch.number * shape.head_width * (2 * shape.heads + 2 * keys) + 4 * shape.heads + mask + scores


def _feed_forward(shape: Shape, batch: Batch) -> float:
    """Of a token: what the activation function takes and gives, and what the gate is multiplied with."""
    return batch.number * shape.inner * (3 if shape.gated else 1)


def _inputs(shape: Shape, tuned: Tuned, batch: Batch) -> float:
    """Of a token: what trained matrices are multiplied with. A frozen one keeps none: its gradient needs only itself.

    On CPU matrices with the same input share it, and that of the last one in attention is what attention keeps anyway.
    On a GPU each makes a bfloat16 copy of a float32 input. With dropout each low-rank adapter has an input of its own,
    and a mask of it (a byte on a GPU, a float on CPU).
    """
    number = batch.number
    shared = 2 * shape.hidden + shape.inner
    if tuned.whole:
        return number * (shape.normed * shape.hidden + shape.inner if batch.gpu else shared)
    adapted = tuned.adapted(shape)
    wide = sum(one[1] for one in adapted)
    kept = number * (wide if batch.gpu or tuned.dropout else min(wide, shared))
    masks = (1 if batch.gpu else 4) * wide if tuned.dropout else 0
    return kept + masks + number * tuned.rank * len(adapted)


def logit_bytes(shape: Shape, tuned: Tuned, batch: Batch) -> float:
    """Logits that are there at once with what the loss makes of them, and the gradient of a head that is trained."""
    if batch.loss == "none":
        return 0.0
    rows = batch.labelled if batch.loss == "whole" else min(batch.labelled, max(16, LOGITS // shape.vocabulary))
    of_head = 4.0 * shape.vocabulary * shape.hidden if tuned.method == "full" else 0.0
    return float(rows * shape.vocabulary * (LOGIT_BYTES + (4 if batch.gpu else 0))) + of_head


def cache_bytes(shape: Shape, rows: int, tokens: int, gpu: bool = True) -> float:
    """Keys and values of `rows` answers that are drawn together, each of `tokens` with its prompt."""
    return 2.0 * shape.layers * shape.kv_heads * shape.head_width * rows * tokens * (2 if gpu else 4)


def flops(shape: Shape, tuned: Tuned, batch: Batch) -> float:
    """Floating-point operations of a forward and a backward pass, additions and multiplications counted apart.

    A weight takes 2 in the forward pass and 2 for the gradient of its input; one that is trained 2 more for its own
    gradient: 6·N·tokens where all are (Kaplan et al. 2020, arXiv:2001.08361, section 2.1), 4·N where the base is
    frozen. Recomputing adds a forward pass, 2·N. Attention adds 2·length·heads·width a layer, half of all pairs, and
    twice that in the backward pass.
    """
    reached = tuned.reached(shape) / shape.layers  # share of the layers that the backward pass goes through
    attention = 2.0 * shape.layers * batch.length * shape.heads * shape.head_width
    forward = 2 * shape.worked + attention
    backward = reached * (2 * shape.worked + 2 * attention)
    own = 2.0 * (shape.worked if tuned.method == "full" else trained_weights(shape, tuned))
    return batch.tokens * (forward + backward + own + (reached * forward if batch.recompute else 0))
