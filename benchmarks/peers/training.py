"""What a fit costs beside neuralforecast and darts: python benchmarks/peers/training.py [--fits N] [--rounds N]

The same made-up market (1,000 days, 21 features) learnt by networks of one LSTM layer of the same width that look back
as far, in as many gradient steps with as many windows each: the product's fleet, neuralforecast's LSTM and darts'
BlockRNNModel, once and N times in one process, by turns. Imports are left out; what each compiles or sets up for a fit
is not.
"""

import argparse
import math
from functools import partial

from peer import Cost, by_turns, heading, median, peer, table, timed

WHAT = ("s", "CPU-s", "CPU, ours is 1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    from benchmarks import training

    features, targets = training.market()
    asked = {
        "features": features.tolist(), "target": targets[:, 0].tolist(), "hidden": training.NETWORK.hidden,
        "lookback": training.TRAINING.chunk, "horizon": training.HORIZON, "batch": training.TRAINING.batch,
        "steps": training.gradient_steps(),
    }  # fmt: skip
    with peer("neuralforecast", "fit_neuralforecast.py") as neuralforecast, peer("darts", "fit_darts.py") as darts:

        def ours(fits: int) -> Cost:
            return timed(lambda: training.fleet(fits))

        sides = {
            "candlecast fleet": ours,
            "neuralforecast LSTM": lambda fits: neuralforecast.ask("fit", fits=fits, **asked),
            "darts BlockRNNModel": lambda fits: darts.ask("fit", fits=fits, **asked),
        }
        first = {name: side(1) for name, side in sides.items()}
        measured = {
            fits: by_turns(chosen.rounds, *(partial(side, fits) for side in sides.values()))
            for fits in (1, chosen.fits)
        }
    print(heading("neuralforecast", "darts"))
    print(
        f"\n{asked['steps']} gradient steps a fit, {asked['batch']} windows of {asked['lookback']} days a step; a "
        f"fit's cost, medians of {chosen.rounds} rounds\n"
    )
    rows = []
    for place, name in enumerate(sides):
        row: list[object] = [name, f"{first[name].seconds:.2f}"]
        for fits, costs in measured.items():
            cpu, own = (median(cost.cpu / fits for cost in costs[side]) for side in (place, 0))
            seconds = median(cost.seconds / fits for cost in costs[place])
            row += [f"{seconds:.3f}", f"{cpu:.3f}", f"{cpu / own:.1f}"]
        rows.append(row)
    columns = [f"{fits} {word}: {what}" for fits, word in ((1, "fit"), (chosen.fits, "fits")) for what in WHAT]
    print(table(["", "the first: s", *columns], rows))
    weights = ", ".join(f"{name} {side.found:,}" for name, side in list(first.items())[1:])
    own = sum(math.prod(shape) for shape in training.NETWORK.shapes().values())
    print(f"\nweights a network: candlecast {own:,}, {weights}")


if __name__ == "__main__":
    main()
