"""The documents: their python blocks run, what they link to and name exists, and README.md stays short.

The python blocks of a file are one program, run in one namespace and one folder. A block after a comment
`<!-- not run: reason -->` is left out. In README.md the numbers of SMALLER take the place of those that a
reader should use.
"""

import re
from pathlib import Path

import jax
import pytest

ROOT = Path(__file__).parents[1]
NOT_OURS = {".git", ".venv", "build", "out", "shared", "newer", "__pycache__", ".pytest_cache", ".ruff_cache"}


def files(folder: Path) -> list[str]:
    """All files and folders of the repository, from its root, but for what is installed or made there."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name not in NOT_OURS and not path.name.endswith(".egg-info"):
            found.append(path.relative_to(ROOT).as_posix())
            found += files(path) if path.is_dir() else []
    return found


FILES = files(ROOT)
DOCUMENTS = [path for path in FILES if path.endswith(".md")]
PROGRAMS = ("README.md", "models/README.md", *(name for name in DOCUMENTS if name.startswith("inference/")))
QUICK = ("README.md",)  # the others compile for longer
LARGEST_README = 10_240  # bytes

# What README.md shows, and what is run in its place: two electrons instead of seven, few steps and samples.
SMALLER = {
    r"num_electrons=\(7, 0\), dim=3": "num_electrons=(2, 0), dim=2",
    r"num_walkers=256": "num_walkers=16",
    r"random\.key\(0\), 100, gas": "random.key(0), 2, gas",
    r"result\.params, 8192, gas": "result.params, 64, gas",
}

PYTHON = re.compile(r"(<!-- not run: [^>]+ -->\n)?^```python\n(.*?)^```$", re.M | re.S)
FENCED = re.compile(r"^```.*?^```$", re.M | re.S)
LINK = re.compile(r"\]\(([^)\s]+)\)")
QUOTED = re.compile(r"`([^`\n]+)`")
ENDINGS = ("py", "md", "csv", "toml", "yml")
NO_FILES = {"utils.py"}  # which are named because they are not there


def read(name: str) -> str:
    return (ROOT / name).read_text()


def blocks(name: str) -> list[str]:
    return [code for skipped, code in PYTHON.findall(read(name)) if not skipped]


def smaller(code: str) -> str:
    """The block with the numbers of SMALLER."""
    for pattern, replacement in SMALLER.items():
        code = re.sub(pattern, replacement, code)
    return code


def anchors(name: str) -> set[str]:
    """The anchors of the headings of a file, as hosting services make them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", read(name)), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def exists(path: str, folder: Path) -> bool:
    """Whether a path is there, seen from the document, from the repository or from one of its rooms."""
    return (folder / path).exists() or any(f"/{there}".endswith(f"/{path.rstrip('/')}") for there in FILES)


def is_path(text: str) -> bool:
    """Whether a name in backticks means a file or a folder of the repository."""
    if re.search(r"[\s*{}<>$()=,:]", text) or text.startswith(("/", "-", "~", "..", "out/", ".venv")):
        return False
    if text in NO_FILES:
        return False
    first = text.split("/")[0]
    return text.rsplit(".", 1)[-1] in ENDINGS or ("/" in text and first in FILES)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PROGRAMS],
)
def test_python_blocks_run(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warnings.filters", [])  # warnings of few samples are no errors here
    namespace = {"__name__": "document"}
    for code in blocks(name):
        exec(compile(smaller(code) if name == "README.md" else code, name, "exec"), namespace)
    assert jax.config.jax_enable_x64


def test_numbers_of_the_readme_are_replaced():
    text = "".join(blocks("README.md"))
    assert all(len(re.findall(pattern, text)) == 1 for pattern in SMALLER)


def test_readme_is_short():
    assert (ROOT / "README.md").stat().st_size <= LARGEST_README


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name):
    missing = []
    for link in LINK.findall(FENCED.sub("", read(name))):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        if not target.exists() or (anchor and anchor not in anchors(target.relative_to(ROOT).as_posix())):
            missing.append(link)
    assert not missing


@pytest.mark.parametrize("name", DOCUMENTS)
def test_paths_exist(name):
    quoted = QUOTED.findall(FENCED.sub("", read(name)))
    words = [word for text in quoted for word in (text.split() if text.startswith("python ") else [text])]
    missing = [word for word in words if is_path(word) and not exists(word, (ROOT / name).parent)]
    commands = re.findall(r"((?:examples|tests|models|inference|pnct)/[\w/]+\.(?:py|csv|md))", read(name))
    missing += [path for path in commands if not (ROOT / path).exists()]
    assert not missing


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_speaks_of_the_program_alone(name):
    """Not of how it came about: no numbers of issues, no working sessions."""
    text = LINK.sub("", FENCED.sub("", read(name)))
    assert not re.findall(r"\bissues?\b|\bsessions?\b|(?<![\w&/])#\d+\b", text, re.I)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_no_python_block_is_left_out_without_a_reason(name):
    assert len(re.findall(r"^```python$", read(name), re.M)) == len(PYTHON.findall(read(name)))
