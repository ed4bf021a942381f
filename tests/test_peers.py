"""The benchmarks against peers: their help, and how they ask a peer. No peer is installed here."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PEERS = ROOT / "benchmarks" / "peers"
BENCHMARKS = sorted(path.stem for path in PEERS.glob("*.py") if path.stem != "peer")


@pytest.fixture(scope="module")
def peer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("peer", PEERS / "peer.py")
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    sys.modules["peer"] = module
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = path
    del sys.modules["peer"]


@pytest.fixture
def script(tmp_path):
    """A peer's script that adds two numbers, and also prints text that is no answer."""
    file = tmp_path / "adding.py"
    file.write_text(
        f"import sys\nsys.path.append({str(PEERS / 'theirs')!r})\nfrom answering import answer\n\n"
        "def add(first: int, second: int) -> int:\n"
        "    print('a progress bar')\n"
        "    if second < 0:\n        raise ValueError('no negative numbers')\n"
        "    return first + second\n\n"
        "answer(add=add)\n"
    )
    return file


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_benchmark_prints_its_command_and_is_on_the_page(name):
    done = subprocess.run([sys.executable, PEERS / f"{name}.py", "--help"], capture_output=True, text=True, check=True)
    assert f"python benchmarks/peers/{name}.py" in done.stdout
    assert f"python benchmarks/peers/{name}.py" in (ROOT / "docs" / "benchmarks.md").read_text()


def test_a_peer_answers_repeatedly_whatever_else_it_prints(peer, script):
    with peer.Peer(script, Path(sys.executable)) as adding:
        costs = [adding.ask("add", first=1, second=second) for second in range(3)]
    assert [cost.result for cost in costs] == [1, 2, 3]
    assert all(cost.seconds > 0 and cost.cpu >= 0 for cost in costs)


def test_a_peer_that_fails_ends_the_benchmark_with_its_message(peer, script):
    with peer.Peer(script, Path(sys.executable)) as adding, pytest.raises(SystemExit, match="no negative numbers"):
        adding.ask("add", first=1, second=-1)


def test_every_second_round_is_reversed_and_the_first_is_left_out(peer):
    order = []
    results = peer.by_turns(2, lambda: order.append("a") or len(order), lambda: order.append("b") or len(order))
    assert "".join(order) == "baabba"
    assert results == [[3, 6], [4, 5]]


def test_every_peer_is_pinned_and_none_is_a_dependency():
    project = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[0]
    files = list((PEERS / "requirements").glob("*.txt"))
    assert files
    for file in files:
        for line in file.read_text().split():
            name, _, version = line.partition("==")
            assert version, line
            assert f'"{name.split("[")[0]}>' not in project


@pytest.fixture
def spans() -> ModuleType:
    spec = importlib.util.spec_from_file_location("spans", PEERS / "theirs" / "spans.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ORDER = [(market, origin, span) for market in range(2) for origin in range(3) for span in (1, 2)]
MARKETS = [[None, 0.0, 1.0, 3.0, 6.0, 10.0, 15.0], [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0]]


def test_a_global_model_learns_from_the_returns_of_each_span_that_were_known(spans):
    series = spans.to_learn_from(MARKETS, 5, horizon=2, least=3)
    assert {name: values.tolist() for name, values in series.items()} == {
        "0-1": [1.0, 2.0, 3.0],
        "1-1": [2.0, 2.0, 2.0, 2.0],
        "1-2": [4.0, 4.0, 4.0],
    }


def test_it_forecasts_from_the_newest_returns_at_each_origin(spans):
    series = spans.to_forecast_from(MARKETS, [4, 5], horizon=2, length=2)
    assert {name: values.tolist() for name, values in series.items()} == {
        "000-000004-1": [2.0, 3.0],
        "000-000004-2": [3.0, 5.0],
        "000-000005-1": [3.0, 4.0],
        "000-000005-2": [5.0, 7.0],
        "001-000004-1": [2.0, 2.0],
        "001-000004-2": [4.0, 4.0],
        "001-000005-1": [2.0, 2.0],
        "001-000005-2": [4.0, 4.0],
    }
    assert list(series) == sorted(series)


def test_the_return_after_h_days_is_step_h_of_the_series_of_h_day_returns(spans):
    forecasts = np.array([[[market, origin, span, step] for step in (1, 2)] for market, origin, span in ORDER], float)
    quantiles = np.array(spans.from_the_origins(forecasts, 2, 3, 2))
    assert quantiles.shape == (2, 3, 2, 4)
    for market, origin, step in ORDER:
        assert quantiles[market, origin, step - 1].tolist() == sorted([market, origin, step, step])
