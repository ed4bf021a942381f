"""Measures the cost of training a network: python benchmarks/training.py [--nets 100] [--most 1000] [--pool-only]

It trains the same small network (LSTM(32) -> dropout -> dense, Student-t head, 1,000 days, 20 epochs) as a fleet, with
one Keras `fit` per network, and in plain PyTorch if that is installed; then it trains fleets of several sizes. Run it
with KERAS_BACKEND=jax to measure that backend, and on a machine with a GPU to measure the GPU. Last it trains what a
backfill of four and a half years over forty markets trains: 18 quarters of three networks, each from all markets.
"""

import argparse
import os
import statistics
import time

import numpy as np
from tabulate import tabulate

from models.lstm.backend import device, keras
from models.lstm.fleet import Member, TrainingConfig, train_fleet
from models.lstm.network import NetworkConfig

DAYS, EPOCHS, FEATURES, HORIZON = 1000, 20, 21, 7
POOL_MARKETS, POOL_DAYS, POOL_NETS, POOL_EPOCHS = 40, 2000, 54, 10
TRAINING = TrainingConfig()
NETWORK = NetworkConfig(FEATURES)


def market(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((DAYS, FEATURES)).astype(np.float32)
    targets = rng.standard_t(4, (DAYS, HORIZON)).astype(np.float32)
    return features, targets


def fleet(nets: int) -> float:
    """Return the seconds per network, including compilation."""
    features, targets = market()
    began = time.perf_counter()
    train_fleet(features, targets, [Member(((0, DAYS),), (seed,), EPOCHS) for seed in range(nets)], network=NETWORK)
    return (time.perf_counter() - began) / nets


def gradient_steps() -> int:
    """Return how many gradient steps the training of one network has."""
    return EPOCHS * -(-len(range(0, DAYS - 1 - TRAINING.burn_in, TRAINING.scored)) // TRAINING.batch)


def flops(steps: int) -> float:
    """Return the multiplications and additions of so many gradient steps: the LSTM forward, and twice that backward."""
    moment = 2 * (FEATURES + NETWORK.hidden) * 4 * NETWORK.hidden
    return 3.0 * steps * TRAINING.batch * TRAINING.chunk * moment


def show_pool(limit_tflops: float | None) -> None:
    """Train the networks of a long backfill over many markets, and print what that took."""
    features, targets = (np.concatenate(parts) for parts in zip(*map(pool_market, range(POOL_MARKETS)), strict=True))
    spans = tuple((number * POOL_DAYS, (number + 1) * POOL_DAYS) for number in range(POOL_MARKETS))
    members = [Member(spans, (seed,), POOL_EPOCHS) for seed in range(POOL_NETS)]
    began, cpu = time.perf_counter(), time.process_time()
    train_fleet(features, targets, members, network=NETWORK)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    chunks_a_market = len(range(0, POOL_DAYS - 1 - TRAINING.burn_in, TRAINING.scored))
    steps = POOL_EPOCHS * -(-POOL_MARKETS * chunks_a_market // TRAINING.batch)
    rate = POOL_NETS * flops(steps) / seconds
    share = f", {rate / (limit_tflops * 1e12):.2%} of the limit" if limit_tflops else ""
    print(
        f"{device()}: {POOL_NETS} networks on {POOL_MARKETS} markets of {POOL_DAYS} days, {POOL_EPOCHS} epochs: "
        f"{seconds:.1f} s, {cpu:.1f} CPU-s, {rate / 1e9:.1f} GFLOP/s{share}"
    )


def pool_market(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((POOL_DAYS, FEATURES)).astype(np.float32)
    return features, rng.standard_t(4, (POOL_DAYS, HORIZON)).astype(np.float32)


def chunks() -> tuple[np.ndarray, np.ndarray]:
    """Return the features and the targets of all chunks from which a member learns in an epoch."""
    features, targets = market()
    starts = range(0, DAYS - 1 - TRAINING.burn_in - TRAINING.scored, TRAINING.scored)
    x = np.stack([features[start : start + TRAINING.chunk] for start in starts])
    y = np.stack([targets[start + TRAINING.burn_in : start + TRAINING.chunk] for start in starts])
    return x, y


def one_keras_fit() -> float:
    """Return the seconds of one network by Keras's `fit`, as a separate model that is traced separately."""
    from keras import layers, ops

    x, y = chunks()

    def loss(actual: object, out: object) -> object:
        log_scale, freedom = out[..., :HORIZON], 2.1 + ops.softplus(out[..., HORIZON:])
        surprise = ops.square(actual) * ops.exp(-2 * log_scale) / freedom
        # keras.ops has no function for the normalising constant; leaving it out only makes this fit cheaper.
        return ops.mean(0.5 * (freedom + 1) * ops.log1p(surprise) + log_scale)

    began = time.perf_counter()
    inputs = keras.Input((TRAINING.chunk, FEATURES))
    hidden = layers.Dropout(0.2)(layers.LSTM(32, return_sequences=True)(inputs))
    model = keras.Model(inputs, layers.Dense(2 * HORIZON, kernel_initializer="zeros")(hidden[:, TRAINING.burn_in :]))
    model.compile(keras.optimizers.AdamW(3e-3, weight_decay=1e-3, clipnorm=1.0), loss)
    model.fit(x, y, batch_size=TRAINING.batch, epochs=EPOCHS, verbose=0)
    return time.perf_counter() - began


def one_torch_training() -> float | None:
    """Return the seconds of one network in plain PyTorch, eager, with one thread; None if PyTorch is not installed."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    x, y = (torch.tensor(values) for values in chunks())
    began = time.perf_counter()
    lstm, head = torch.nn.LSTM(FEATURES, 32, batch_first=True), torch.nn.Linear(32, 2 * HORIZON)
    dropout = torch.nn.Dropout(0.2)
    parameters = [*lstm.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(parameters, 3e-3, weight_decay=1e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(TRAINING.batch):
            optimizer.zero_grad()
            out = head(dropout(lstm(x[rows])[0][:, TRAINING.burn_in :]))
            spread = torch.distributions.StudentT(
                2.1 + torch.nn.functional.softplus(out[..., HORIZON:]), 0.0, torch.exp(out[..., :HORIZON])
            )
            (-spread.log_prob(y[rows]).mean()).backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=int, default=100)
    parser.add_argument("--most", type=int, default=1000)
    parser.add_argument(
        "--limit-tflops", type=float, help="the float32 TFLOP/s of the device, to show the share that is used"
    )
    parser.add_argument("--fits", type=int, default=5, help="single fits of which the median is taken")
    parser.add_argument("--pool-only", action="store_true", help="train only the networks of the long backfill")
    chosen = parser.parse_args()
    if chosen.pool_only:
        show_pool(chosen.limit_tflops)
        return
    print(
        f"{device()}, {os.cpu_count()} cores; {DAYS} days, {EPOCHS} epochs per network; "
        "seconds per network, including compilation"
    )
    fleet_each = fleet(chosen.nets)
    keras_each = statistics.median(one_keras_fit() for _ in range(chosen.fits))
    torch_seconds = [one_torch_training() for _ in range(chosen.fits)]
    known_seconds = [seconds for seconds in torch_seconds if seconds is not None]
    torch_each = statistics.median(known_seconds) if known_seconds else None
    rows = [[f"fleet of {chosen.nets}", f"{fleet_each:.4f}", "1.0"]]
    rows.append(
        [f"one Keras fit each ({chosen.fits} fits, median)", f"{keras_each:.4f}", f"{keras_each / fleet_each:.1f}"]
    )
    if torch_each is not None:
        rows.append(
            [f"plain PyTorch each ({chosen.fits}, median)", f"{torch_each:.4f}", f"{torch_each / fleet_each:.1f}"]
        )
    print(tabulate(rows, ["", "s per network", "relative to the fleet"], "simple", disable_numparse=True))
    sizes = [size for size in (1, 3, 10, 30, 100, 300, 1000) if size <= chosen.most]
    costs = [(size, fleet(size)) for size in sizes]
    print()
    table = []
    for nets, cost in costs:
        rate = flops(gradient_steps()) / cost
        share = f"{rate / (chosen.limit_tflops * 1e12):.2%}" if chosen.limit_tflops else "-"
        table.append([nets, f"{cost:.4f}", f"{cost * nets:.1f}", f"{rate / 1e9:.1f}", share])
    print(
        tabulate(
            table,
            ["networks", "s per network", "s in total", "GFLOP/s", "share of the limit"],
            "simple",
            disable_numparse=True,
        )
    )
    print()
    show_pool(chosen.limit_tflops)


if __name__ == "__main__":
    main()
