"""README and pages: what they link to exists, and so do the files, commands and flags that they name."""

import re
import shlex
from pathlib import Path

import pytest

from blindvsr import cli

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("README*.md"), *ROOT.glob("docs/*.md"), ROOT / "blindvsr/models/README.md"])
ENDINGS = "py|yaml|cu|jpg|png|md|safetensors"
MADE = ("build", "runs")  # folders that the commands fill
OTHERS = {"--nproc_per_node", "--nnodes", "--node_rank", "--master_addr", "--master_port", "--kill-on-bad-exit"}


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)


def anchors(page: Path) -> set[str]:
    """The places in a page that links may name, as GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands(page: Path) -> list[list[str]]:
    """The shell commands of a page, in blocks and in sentences, as words without comments."""
    blocks = "\n".join(re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.M | re.S))
    lines = blocks.replace("\\\n", " ").splitlines()
    lines += re.findall(r"`((?:blindvsr|python) [^`]*)`", prose(page).replace("\n", " "))
    return [words for line in lines if (words := shlex.split(line, comments=True))]


@pytest.fixture(scope="module")
def flags() -> dict[str, set[str]]:
    """Command or script -> its flags."""
    found: dict[str, set[str]] = {}
    for name in (*cli.TOOLS, *cli.LIGHTNING):
        lines: list[str] = []
        with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit):
            patch.setattr("sys.stdout.write", lines.append)
            cli.main([name, "--help"])
        found[name] = set(re.findall(r"--[\w.]+", "".join(lines)))
    for file in (*ROOT.glob("benchmarks/*.py"), ROOT / "jittor_port/infer.py"):
        found[file.name] = set(re.findall(r'"(--\w+)"', file.read_text()))
    return found


def test_links() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
            if not re.match(r"https?://", target):
                path, _, anchor = target.partition("#")
                file = page.parent / path if path else page
                assert file.exists(), f"{page.name} links to {target}"
                assert not anchor or anchor in anchors(file), f"{page.name} links to {target}"


def test_every_page_is_linked_from_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[^)#]+)", (ROOT / "README.md").read_text()))
    assert linked == {str(file.relative_to(ROOT)) for file in (ROOT / "docs").iterdir() if file.suffix == ".md"} | {
        target for target in linked if not target.endswith(".md")}


def test_the_tree_has_a_line_for_every_module() -> None:
    tree = set(re.findall(r"^ +(\w+\.py) ", (ROOT / "docs/code.md").read_text(), re.M))
    modules = {file.name for file in ROOT.glob("blindvsr/**/*.py") if not file.name.startswith("__")}
    assert modules <= tree, f"docs/code.md has no line for {', '.join(sorted(modules - tree))}"
    assert tree <= modules, f"docs/code.md has lines for modules that are gone: {', '.join(sorted(tree - modules))}"


def test_named_files() -> None:
    there = [str(file.relative_to(ROOT)) for file in ROOT.rglob("*") if ".git" not in file.parts]
    for page in PAGES:
        for name in re.findall(rf"`([\w./-]+\.(?:{ENDINGS}))`", prose(page)):
            named = name.split("/")[0] in MADE or any(f"/{file}".endswith(f"/{name}") for file in there)
            assert named or "/" not in name and not name.endswith(".py"), f"{page.name} names {name}"


def tool_of(words: list[str]) -> str:
    """What a command runs, under the name that it has in `flags`; empty for what is not ours."""
    scripts = [Path(word).name for word in words if word.endswith(".py")]
    if scripts or "jittor_port.infer" in words:
        return scripts[0] if scripts else "infer.py"
    places = [place for place, word in enumerate(words[:-1]) if Path(word).name == "blindvsr"]
    return words[places[-1] + 1] if places and words[0] != "git" else ""


def test_commands_and_their_flags(flags: dict[str, set[str]]) -> None:
    for page in PAGES:
        for words in commands(page):
            tool = tool_of(words)
            assert not tool or tool in flags, f"{page.name}: {' '.join(words)}"
            for word in words:
                if tool and word.startswith("--") and word.split("=")[0] not in OTHERS:
                    assert word in flags[tool], f"{page.name}: {tool} has no {word}"


def test_named_flags(flags: dict[str, set[str]]) -> None:
    every = OTHERS.union(*flags.values())
    for page in PAGES:
        for name in re.findall(r"`(--[\w.-]+\w)", prose(page)):
            assert name in every, f"{page.name} names {name}"
