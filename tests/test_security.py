"""Nothing read from outside is run: no call in the package that could do that."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.builds import ROOT

FORBIDDEN_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
FORBIDDEN_CALLS = {"eval", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system"}


def findings(source: str) -> Iterator[str]:
    """What a program's text has that could run what it reads."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.partition(".")[0] in FORBIDDEN_MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in FORBIDDEN_MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            keywords = {word.arg: ast.unparse(word.value) for word in node.keywords}
            # an empty string runs nothing: evsam/cli/__init__.py
            constant = len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and node.args[0].value == ""
            if name in FORBIDDEN_CALLS or (name == "exec" and not constant):
                yield name
            if name == "torch.load" and keywords.get("weights_only") != "True":
                yield "torch.load without weights_only=True"
            if keywords.get("allow_pickle", "False") != "False":
                yield f"{name} with allow_pickle"


@pytest.mark.parametrize("folder", ["evsam", "training"])
def test_nothing_that_is_read_can_run(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert len(files) > 10
    found = {str(path.relative_to(ROOT)): list(findings(path.read_text())) for path in files}
    assert {path: what for path, what in found.items() if what} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "eval(text)",
        "exec(text)",
    ],
)
def test_what_is_looked_for_is_found(source: str) -> None:
    assert list(findings(source))
