"""`pytest tests/lab --prove`: run what is marked `proof`, and say each sentence once it is proved.

What is marked `slow` as well is left to `make test`.

A test says what it proves, `@pytest.mark.proof("a sentence")`, and may show what it saw with the fixture
`evidence`. Tests of one sentence (one for each machine, say) are one line. `make lab` ends with this.
"""

import time
from collections import Counter, defaultdict

import pytest
from rich.console import Console

EVIDENCE = "evidence"


def pytest_addoption(parser):
    group = parser.getgroup("lab")
    group.addoption("--prove", action="store_true", help="Only what is marked as a proof, as sentences.")
    group.addoption("--fleet", metavar="FILE", help="Use the lab of this fleet file, and leave it running.")


@pytest.hookimpl(trylast=True)  # after pytest's own reporter is there to be replaced
def pytest_configure(config):
    config.addinivalue_line("markers", "proof(sentence): what `make lab` may say once the test has passed")
    config.addinivalue_line("markers", "slow: takes minutes; `make test` has the time")
    config.addinivalue_line("markers", "rounds: more of it the longer it has; `make soak` has hours")
    if config.getoption("--prove"):
        config.pluginmanager.unregister(name="terminalreporter")
        config.pluginmanager.register(Proofs())


def pytest_collection_modifyitems(config, items):
    """Choose what `--prove` runs. Of all tests, files that say how many `MINUTES` they take come first.

    So that labs which share the files out are done at about the same time (with `--no-loadscope-reorder`).
    """
    items.sort(key=lambda item: -getattr(item.module, "MINUTES", 0))
    if config.getoption("--prove"):
        chosen = [i for i in items if i.get_closest_marker("proof") and not i.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


@pytest.fixture
def evidence(request):
    """Call it with what was seen; it stands behind the sentence."""
    return lambda seen: request.node.user_properties.append((EVIDENCE, str(seen)))


class Proofs:
    """Tells proofs as they come, and failures with all that pytest knows of them."""

    def __init__(self):
        self.console = Console(highlight=False, soft_wrap=True)
        self.sentences = {}
        self.left = Counter()
        self.seen = defaultdict(list)
        self.failed = Counter()
        self.seconds = Counter()
        self.began = time.monotonic()

    def pytest_collection_finish(self, session):
        for item in session.items:
            self.sentences[item.nodeid] = item.get_closest_marker("proof").args[0]
        self.left.update(self.sentences.values())

    def pytest_collectreport(self, report):
        if report.failed:
            self.failed["collection"] += 1
            self.console.print(report.longreprtext, markup=False)

    def pytest_runtest_logreport(self, report):
        sentence = self.sentences[report.nodeid]
        self.seconds[sentence] += report.duration
        if not report.passed:
            self.failed[sentence] += 1
            self.console.print(f"\n{report.nodeid} ({report.when})\n{report.longreprtext}", markup=False)
        if report.when != "teardown":
            return
        self.seen[sentence] += [value for name, value in report.user_properties if name == EVIDENCE]
        self.left[sentence] -= 1
        if not self.left[sentence]:
            word = "[red]not proved[/]" if self.failed[sentence] else "[green]proved[/]"
            ways = sum(1 for told in self.sentences.values() if told == sentence)
            cost = (f"{ways} ways, " if ways > 1 else "") + f"{self.seconds[sentence]:.0f} s"
            self.console.print(f"{word}  {sentence} ({cost})")
            for seen in dict.fromkeys(self.seen[sentence]):
                self.console.print(f"        {seen}", markup=False, style="dim")

    def pytest_sessionfinish(self):
        sentences = set(self.sentences.values())
        proved = [sentence for sentence in sentences if not self.left[sentence] and not self.failed[sentence]]
        text = f"{len(proved)} of {len(sentences)} proved in {time.monotonic() - self.began:.0f} s"
        self.console.print(f"\n{text}, by {len(self.sentences)} tests", markup=False)
