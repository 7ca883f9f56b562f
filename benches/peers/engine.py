"""PyTorch's side of training: losses, optimisers, schedules and what stands between them.

    python benches/peers/engine.py > benches/peers/engine.json

Trains a network of one hidden layer from fixed weights on twelve rows, all of them in each step, and
prints for each case the loss before every step and the weights after the last, in 64-bit floats. `train`
is the `[train]` of each case in `tesla.toml`. Biases have no weight decay, as in TESLA. What PyTorch does
not have is written out below: Lion, focal loss, and the moving average whose first steps follow faster.
"""

import json
import math

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)

ROWS, INPUTS, HIDDEN = 12, 3, 4
STEPS = 12
CLASSES = ["a", "b", "c"]


def spread(count, stream):
    """Numbers of three digits in -1..1 that follow no line."""
    return [round(math.sin(12.9898 * (i + 1) + 78.233 * stream) * 43758.5453 % 2 - 1, 3) for i in range(count)]


X = torch.tensor(spread(ROWS * INPUTS, 1)).reshape(ROWS, INPUTS)
LABELS = torch.tensor([0, 1, 0, 2, 0, 1, 0, 1, 2, 0, 1, 0])
VALUES = torch.tensor(spread(ROWS, 2)) * 3
ROW_WEIGHTS = torch.tensor([1.0, 0.5, 2.0, 0.0, 1.5, 1.0, 3.0, 0.25, 1.0, 1.0, 0.5, 2.0])
CLASS_WEIGHTS = {"a": 0.5, "b": 1.5, "c": 3.0}


def first_weights(outputs):
    shapes = [(INPUTS, HIDDEN), (HIDDEN,), (HIDDEN, outputs), (outputs,)]
    return [torch.tensor(spread(math.prod(shape), 3 + i)).reshape(shape) for i, shape in enumerate(shapes)]


def forward(weights, x):
    w1, b1, w2, b2 = weights
    return torch.tanh(x @ w1 + b1) @ w2 + b2


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023, algorithm 2."""

    def __init__(self, groups, lr):
        super().__init__(groups, {"lr": lr, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(torch.sign(0.9 * m + 0.1 * p.grad), alpha=-group["lr"])
                m.mul_(0.99).add_(p.grad, alpha=0.01)


def optimizer(train, weights):
    rate, decay = train["learning_rate"], train["weight_decay"]
    groups = [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": decay},
        {"params": [w for w in weights if w.ndim == 1], "weight_decay": 0.0},
    ]
    return {
        "sgd": lambda: torch.optim.SGD(groups, lr=rate, momentum=train["momentum"]),
        "adam": lambda: torch.optim.Adam(groups, lr=rate),
        "adamw": lambda: torch.optim.AdamW(groups, lr=rate),
        "rms_prop": lambda: torch.optim.RMSprop(groups, lr=rate),
        "lion": lambda: Lion(groups, rate),
    }[train["optimizer"]]()


def schedule(train, rule):
    """PyTorch's schedule, asked for after every step: an epoch is one step."""
    config, lr = train.get("schedule", {"kind": "constant"}), torch.optim.lr_scheduler
    match config["kind"]:
        case "constant":
            return None
        case "step":
            return lr.StepLR(rule, config["epochs"], config["factor"])
        case "one_cycle":
            # Biases and weights have groups of their own, with one learning rate.
            return lr.OneCycleLR(
                rule, train["learning_rate"], STEPS, pct_start=config["rise"], cycle_momentum=False
            )
        case "cosine":
            top = round(config["warmup"] * STEPS)
            end = config["end"] * train["learning_rate"]
            fall = lr.CosineAnnealingLR(rule, STEPS - 1 - top, end)
            if top == 0:
                return fall
            rise = lr.LinearLR(rule, 1 / (top + 1), 1.0, top)
            return lr.SequentialLR(rule, [rise, fall], [top])


def classes_loss(train, row_weights):
    """The mean loss of rows whose logits and labels are given."""
    focus, each = train.get("focal", 0), train.get("class_weights")
    counts = torch.bincount(LABELS).double()
    each = {
        "balanced": ROWS / (len(CLASSES) * counts),
        None: None,
    }[each] if not isinstance(each, dict) else torch.tensor([each[c] for c in CLASSES])

    def loss(logits, rows):
        labels = LABELS[rows]
        if focus == 0 and row_weights is None:
            return F.cross_entropy(logits, labels, each, label_smoothing=train.get("label_smoothing", 0))
        own = F.cross_entropy(logits, labels, reduction="none")
        if focus:
            own = own * (1 - torch.exp(-own)) ** focus
        w = torch.ones(len(labels)) if row_weights is None else row_weights[rows]
        w = w if each is None else w * each[labels]
        return (own * w).sum() / w.sum()

    return loss


def values_loss(row_weights):
    def loss(output, rows):
        own = (output[:, 0] - VALUES[rows]) ** 2
        w = torch.ones(len(own)) if row_weights is None else row_weights[rows]
        return (own * w).sum() / w.sum()

    return loss


def case(name, train, row_weights=None, values=False):
    train = {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 0.0, "momentum": 0.0} | train
    train |= {"epochs": STEPS, "batch_size": train.get("batch_size", ROWS)}
    outputs = 1 if values else len(CLASSES)
    weights = [w.requires_grad_() for w in first_weights(outputs)]
    loss_of = values_loss(row_weights) if values else classes_loss(train, row_weights)
    rule = optimizer(train, weights)
    plan = schedule(train, rule)
    average = [w.detach().clone() for w in weights]
    losses = []
    for step in range(1, STEPS + 1):
        rule.zero_grad()
        whole = 0.0
        for rows in torch.arange(ROWS).split(train["batch_size"]):
            loss = loss_of(forward(weights, X[rows]), rows) * len(rows) / ROWS
            loss.backward()
            whole += loss.item()
        losses.append(whole)
        if train.get("clip_norm", 0) > 0:
            torch.nn.utils.clip_grad_norm_(weights, train["clip_norm"])
        rule.step()
        if plan:
            plan.step()
        keep = min(train.get("average", 0), (1 + step) / (10 + step))
        for mean, w in zip(average, weights):
            mean.mul_(keep).add_(w.detach(), alpha=1 - keep)
    last = average if "average" in train else weights
    return {
        "name": name,
        "train": train,
        "row_weights": None if row_weights is None else row_weights.tolist(),
        "values": values,
        "losses": losses,
        "weights": [w.detach().flatten().tolist() for w in last],
    }


def rounded(value):
    match value:
        case float():
            return round(value, 9)
        case list():
            return [rounded(v) for v in value]
        case dict():
            return {key: rounded(v) for key, v in value.items()}
        case _:
            return value


def main():
    adam = {"optimizer": "adam", "learning_rate": 0.05}
    cases = [
        case("sgd", {}),
        case("sgd with momentum and a penalty", {"momentum": 0.9, "weight_decay": 0.1}),
        case("adam", adam),
        case("adam with a penalty", adam | {"weight_decay": 0.1}),
        case("adamw", {"optimizer": "adamw", "learning_rate": 0.05, "weight_decay": 0.1}),
        case("rmsprop", {"optimizer": "rms_prop", "learning_rate": 0.01}),
        case("rmsprop with a penalty", {"optimizer": "rms_prop", "learning_rate": 0.01, "weight_decay": 0.1}),
        case("lion", {"optimizer": "lion", "learning_rate": 0.01, "weight_decay": 0.1}),
        case("label smoothing", {"label_smoothing": 0.1}),
        case("focal loss", {"focal": 2.0}),
        case("class weights", {"class_weights": CLASS_WEIGHTS}),
        case("balanced classes", {"class_weights": "balanced"}),
        case("row weights", {}, ROW_WEIGHTS),
        case("row weights, class weights and focal loss", {"class_weights": CLASS_WEIGHTS, "focal": 1.5}, ROW_WEIGHTS),
        case("two batches in a step", {"batch_size": 6, "accumulate": 2}),
        case("three batches in a step, the last one short", {"batch_size": 5, "accumulate": 3}),
        case("clipped gradients", {"clip_norm": 0.1}),
        case("clipped gradients of adam", adam | {"clip_norm": 0.1, "weight_decay": 0.1}),
        case("moving average", {"average": 0.5}),
        case("cosine with warm-up", {"schedule": {"kind": "cosine", "warmup": 0.25, "end": 0.1}}),
        case("cosine", {"schedule": {"kind": "cosine", "warmup": 0.0, "end": 0.0}}),
        case("one cycle", {"schedule": {"kind": "one_cycle", "rise": 0.25}}),
        case("step", {"schedule": {"kind": "step", "epochs": 3, "factor": 0.5}}),
        case("squared error", {}, None, True),
        case("weighted squared error", {"momentum": 0.9}, ROW_WEIGHTS, True),
    ]
    found = {
        "torch": torch.__version__,
        "x": X.flatten().tolist(),
        "labels": LABELS.tolist(),
        "values": VALUES.tolist(),
        "first": {
            "classes": [w.flatten().tolist() for w in first_weights(len(CLASSES))],
            "values": [w.flatten().tolist() for w in first_weights(1)],
        },
        "cases": cases,
    }
    print(json.dumps(rounded(found)))


main()
