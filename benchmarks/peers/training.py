"""Compares the cost of a fit with neuralforecast and darts: python benchmarks/peers/training.py [--fits N] [--rounds N]

candlecast's fleet, neuralforecast's LSTM and darts' BlockRNNModel fit the same synthetic market (1,000 days, 21
features) with one LSTM layer of the same width, the same lookback, and the same number of gradient steps and of
windows per step. Each makes one fit and N fits in one process; they take turns. Imports are left out. Compilation and
the set-up of each fit are included.
"""

import argparse
import math
from functools import partial

from peer import Cost, by_turns, heading, median, peer, table, timed

UNITS = ("s", "CPU-s", "CPU, candlecast's is 1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    from benchmarks import training

    features, targets = training.market()
    arguments = {
        "features": features.tolist(), "target": targets[:, 0].tolist(), "hidden": training.NETWORK.hidden,
        "lookback": training.TRAINING.chunk, "horizon": training.HORIZON, "batch": training.TRAINING.batch,
        "steps": training.gradient_steps(),
    }  # fmt: skip
    with peer("neuralforecast", "fit_neuralforecast.py") as neuralforecast, peer("darts", "fit_darts.py") as darts:

        def ours(fits: int) -> Cost:
            return timed(lambda: training.fleet(fits))

        sides = {
            "candlecast fleet": ours,
            "neuralforecast LSTM": lambda fits: neuralforecast.ask("fit", fits=fits, **arguments),
            "darts BlockRNNModel": lambda fits: darts.ask("fit", fits=fits, **arguments),
        }
        first = {name: side(1) for name, side in sides.items()}
        measured = {
            fits: by_turns(chosen.rounds, *(partial(side, fits) for side in sides.values()))
            for fits in (1, chosen.fits)
        }
    print(heading("neuralforecast", "darts"))
    print(
        f"\n{arguments['steps']} gradient steps per fit, {arguments['batch']} windows of {arguments['lookback']} days "
        f"per step; cost per fit, medians of {chosen.rounds} rounds\n"
    )
    rows = []
    for place, name in enumerate(sides):
        row: list[object] = [name, f"{first[name].seconds:.2f}"]
        for fits, costs in measured.items():
            cpu, own = (median(cost.cpu / fits for cost in costs[side]) for side in (place, 0))
            seconds = median(cost.seconds / fits for cost in costs[place])
            row += [f"{seconds:.3f}", f"{cpu:.3f}", f"{cpu / own:.1f}"]
        rows.append(row)
    columns = [f"{fits} {word}: {unit}" for fits, word in ((1, "fit"), (chosen.fits, "fits")) for unit in UNITS]
    print(table(["", "the first fit: s", *columns], rows))
    weights = ", ".join(f"{name} {side.result:,}" for name, side in list(first.items())[1:])
    own = sum(math.prod(shape) for shape in training.NETWORK.shapes().values())
    print(f"\nweights per network: candlecast {own:,}, {weights}")


if __name__ == "__main__":
    main()
