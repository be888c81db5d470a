"""What the project says of itself is true."""

import ast
import re
import statistics
from pathlib import Path

import yaml

import srlm
from srlm.config import Config, section_types

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/srlm"
MODULES = sorted(SOURCE.rglob("*.py"))
FUNCTIONS = [
    (path, node)
    for path in MODULES
    for node in ast.walk(ast.parse(path.read_text("utf-8")))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
]


def readme_tree() -> set[str]:
    """Paths of the README's file tree: two spaces of indentation a folder, the name first."""
    text = (ROOT / "README.md").read_text("utf-8")
    block = re.search(r"## File tree\n+```\n(.*?)```", text, re.S)
    assert block, "README.md has no file tree"
    parents: list[str] = []
    found = set()
    for line in block[1].splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        parents[depth:] = [name]
        if not name.endswith("/"):
            found.add("".join(parents))
    return found


def test_the_readme_lists_every_source_file_and_no_other():
    real = [
        path for path in MODULES if path.stem[0] != "_" or path.parent.name in {"recipes", "cli", "config"}
    ]
    real.remove(SOURCE / "cli/__main__.py")
    real += (SOURCE / "recipes").glob("*.yaml")
    listed = {path for path in readme_tree() if path.startswith("src/srlm/")}
    assert {path for path in listed if path.endswith((".py", ".yaml"))} == {
        str(path.relative_to(ROOT)) for path in real
    }


def test_every_file_that_the_readme_lists_is_there():
    assert not [path for path in readme_tree() if not (ROOT / path).exists()]


def test_links_in_the_documents_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_loop_document_names_only_files_and_keys_that_exist():
    text = (ROOT / "docs/the-loop.md").read_text("utf-8")
    for path in re.findall(r"`((?:\w+/)*\w+\.(?:py|txt|jsonl))`", text):
        if "/" in path or path.endswith(".py"):
            assert (SOURCE / path).exists(), path
    known = set(Config.model_fields)
    known |= {f"{place}.{key}" for place, kind in section_types().items() for key in kind.model_fields}
    for key in re.findall(r"`(data|prompts|responses|judge|pairs|evaluation)\.(\w+)`", text):
        assert ".".join(key) in known, key


def test_functions_are_small_and_typed():
    lengths = [node.end_lineno - node.lineno + 1 for _, node in FUNCTIONS]
    assert max(lengths) <= 60
    assert statistics.median(lengths) <= 12
    assert not [f"{path.name}: {node.name}" for path, node in FUNCTIONS if node.returns is None]


def test_every_public_function_and_class_says_what_it_is():
    silent = []
    for path in MODULES:
        tree = ast.parse(path.read_text("utf-8"))
        if path.stat().st_size and not ast.get_docstring(tree) and path.stem != "__main__":
            silent.append(path.name)
        public = [
            node
            for node in tree.body
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        ]
        silent += [f"{path.name}: {node.name}" for node in public if not ast.get_docstring(node)]
    assert not silent


def test_nothing_is_unpickled_and_no_yaml_is_trusted():
    for path in MODULES:
        text = path.read_text("utf-8")
        words = ["import pickle", "torch.load(", "yaml.unsafe_load", "yaml.full_load", "shell=True"]
        if path.parts[-2:] == ("training", "checkpoints.py"):  # which holds back what torch would unpickle
            assert text.count("torch.load(") == text.count("weights_only=True)") == 1
            assert "pickle.load" not in text
            words = words[2:]
        for word in words:
            assert word not in text, f"{path.name}: {word}"


def test_versions_agree():
    assert f"version: {srlm.__version__}" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))["license"] == "Apache-2.0"
    assert f"## {srlm.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
