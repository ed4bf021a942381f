"""The benchmarks against peers say how they are run, and hold a peer to its answers. No peer is installed here."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

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
    """A peer's script: it adds, and prints what is no answer."""
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
def test_each_benchmark_says_how_it_is_run_and_stands_in_the_page(name):
    done = subprocess.run([sys.executable, PEERS / f"{name}.py", "--help"], capture_output=True, text=True, check=True)
    assert f"python benchmarks/peers/{name}.py" in done.stdout
    assert f"python benchmarks/peers/{name}.py" in (ROOT / "docs" / "benchmarks.md").read_text()


def test_a_peer_answers_again_and_again_whatever_it_prints(peer, script):
    with peer.Peer(script, Path(sys.executable)) as adding:
        costs = [adding.ask("add", first=1, second=second) for second in range(3)]
    assert [cost.found for cost in costs] == [1, 2, 3]
    assert all(cost.seconds > 0 and cost.cpu >= 0 for cost in costs)


def test_a_peer_that_fails_ends_the_benchmark_with_its_own_words(peer, script):
    with peer.Peer(script, Path(sys.executable)) as adding, pytest.raises(SystemExit, match="no negative numbers"):
        adding.ask("add", first=1, second=-1)


def test_rounds_go_forth_and_back_and_the_first_is_left_out(peer):
    done = []
    found = peer.by_turns(2, lambda: done.append("a") or len(done), lambda: done.append("b") or len(done))
    assert "".join(done) == "baabba"
    assert found == [[3, 6], [4, 5]]


def test_every_peer_is_pinned_and_none_is_a_dependency():
    project = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[0]
    files = list((PEERS / "requirements").glob("*.txt"))
    assert files
    for file in files:
        for line in file.read_text().split():
            name, _, version = line.partition("==")
            assert version, line
            assert f'"{name.split("[")[0]}>' not in project
