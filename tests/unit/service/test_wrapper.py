"""The wrapper at the repository's root, run for real in small checkouts of their own."""

import importlib.machinery
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[3]


def load() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("wrapper", str(ROOT / "hazardloop"))
    spec = importlib.util.spec_from_loader("wrapper", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.dont_write_bytecode, kept = True, sys.dont_write_bytecode
    try:
        loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = kept
    return module


wrapper = load()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that needs no package and prints what it is asked to do."""
    root = tmp_path / "checkout"
    package = root / "src" / "hazardloop"
    package.mkdir(parents=True)
    shutil.copy2(ROOT / "hazardloop", root)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("import sys; print('ran', *sys.argv[1:])\n")
    (root / "requirements").mkdir()
    for lock in ("runtime.txt", "test.txt", "build.txt"):
        (root / "requirements" / lock).write_text("")
    return root


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment without pip, to be copied: making one takes long."""
    made = tmp_path_factory.mktemp("environment") / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made)], check=True)
    return made


@pytest.fixture
def begun(checkout: Path, environment: Path) -> Path:
    """`checkout` with an environment already there."""
    shutil.copytree(environment, checkout / ".venv", symlinks=True)
    return checkout


def without_ensurepip(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Debian without python3-venv: environments get no pip of their own, which is quick."""
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ensurepip" else found(name)
    )


VARIABLES = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
"""Without what would hide the checkout's own package."""


def start(checkout: Path, *words: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(checkout / "hazardloop"), *words],
        capture_output=True, text=True, env=VARIABLES | ({"PATH": path} if path else {}),
    )  # fmt: skip


def test_the_first_start_sets_up_and_the_second_hands_over_at_once(checkout: Path) -> None:
    first = start(checkout, "demo", "--port", "1")
    assert first.stdout == "ran demo --port 1\n"
    assert "virtual environment" in first.stderr
    again = start(checkout, "up")
    assert (again.stdout, again.stderr, again.returncode) == ("ran up\n", "", 0)


def test_a_changed_lock_file_is_installed_at_the_next_start(begun: Path) -> None:
    start(begun, "up")
    (begun / "requirements" / "runtime.txt").write_text("# another\n")
    assert "requirements/runtime.txt" in start(begun, "up").stderr
    assert start(begun, "up").stderr == ""


def test_a_set_up_that_was_cut_short_is_done_again(begun: Path) -> None:
    start(begun, "up")
    stamp = begun / ".venv" / "hazardloop-setup.json"
    stamp.write_text(stamp.read_text()[:20])
    healed = start(begun, "up")
    assert healed.stdout == "ran up\n"
    assert "packages" in healed.stderr
    assert start(begun, "up").stderr == ""


def test_an_environment_without_its_python_is_made_anew(
    begun: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_ensurepip(monkeypatch)
    checkout = wrapper.Checkout(begun)
    wrapper.set_up(checkout, "runtime.txt")
    checkout.python.unlink()
    assert wrapper.missing(checkout, "runtime.txt") == ["environment", "packages"]
    wrapper.set_up(checkout, "runtime.txt")
    assert start(begun, "up").stderr == ""


def test_two_first_starts_at_once_set_up_once(begun: Path) -> None:
    both = [
        subprocess.Popen(
            [sys.executable, str(begun / "hazardloop"), "up"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=VARIABLES,
        )
        for _ in range(2)
    ]  # fmt: skip
    said = [child.communicate() for child in both]
    assert [out for out, _ in said] == ["ran up\n", "ran up\n"]
    assert sum("packages of" in err for _, err in said) == 1


def test_a_package_whose_hash_differs_is_refused_in_one_line(begun: Path) -> None:
    wheel = begun / "made_up-1.0-py3-none-any.whl"
    wheel.write_bytes(b"not what was promised")
    lock = begun / "requirements" / "runtime.txt"
    lock.write_text(f"made-up @ {wheel.as_uri()} --hash=sha256:{'0' * 64}\n")
    refused = start(begun, "up")
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert "hash" in refused.stderr.lower().splitlines()[-1]
    assert "Traceback" not in refused.stderr


def test_a_python_without_ensurepip_is_served_by_the_systems_pip(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Debian without python3-venv; the same Python with pip stands for the system's."""
    bare = wrapper.Checkout(checkout)
    without_ensurepip(monkeypatch)
    wrapper.make_environment(bare, "runtime.txt")
    assert not list(bare.venv.glob("lib/python3*/site-packages/pip"))
    wrapper.install(bare, "runtime.txt")
    assert wrapper.missing(bare, "runtime.txt") == []


def test_a_python_without_ensurepip_and_pip_says_what_to_install(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(wrapper.SetupFailed, match="apt-get install python3-venv"):
        wrapper.make_environment(wrapper.Checkout(checkout), "runtime.txt")


NPM = """#!{python}
import pathlib, sys
here = pathlib.Path.cwd()
if sys.argv[1] == "ci":
    (here / "node_modules").mkdir(exist_ok=True)
else:
    dist = here.parent / "src/hazardloop/service/console_dist"
    dist.mkdir(parents=True, exist_ok=True)
    (dist / "index.html").write_text((here / "page").read_text())
"""


def tools(folder: Path, npm: str) -> str:
    """A PATH with a new enough node, and `npm`."""
    folder.mkdir()
    for name, text in {"node": "#!/bin/sh\necho v24.1.0\n", "npm": npm}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.fixture
def console(checkout: Path) -> Path:
    folder = checkout / "console"
    folder.mkdir()
    for name in ("package.json", "package-lock.json", "page"):
        (folder / name).write_text(name)
    return folder


def test_the_console_is_built_again_only_when_its_source_changes(
    begun: Path, console: Path, tmp_path: Path
) -> None:
    path = tools(tmp_path / "tools", NPM.format(python=sys.executable))
    page = begun / "src/hazardloop/service/console_dist/index.html"
    assert "console: build" in start(begun, "up", path=path).stderr
    assert page.read_text() == "page"
    (console / "node_modules" / "anything").touch()
    assert start(begun, "up", path=path).stderr == ""
    (console / "page").write_text("new page")
    assert "console: its packages" not in start(begun, "up", path=path).stderr
    assert page.read_text() == "new page"


def test_without_npm_the_service_starts_and_says_that_its_page_is_missing(
    begun: Path, console: Path, tmp_path: Path
) -> None:
    path = tools(tmp_path / "tools", "#!/bin/sh\necho npm error code ENOTFOUND >&2; exit 1\n")
    started = start(begun, "up", path=path)
    assert started.stdout == "ran up\n"
    assert "console not built" in started.stderr
    assert "ENOTFOUND" in started.stderr


@pytest.mark.parametrize(
    ("said", "version"),
    [
        pytest.param("v22.18.0\n", (22, 18), id="what node prints"),
        pytest.param("", (0, 0), id="nothing counts as no node"),
        pytest.param("Welcome", (0, 0), id="something else counts as no node"),
    ],
)
def test_node_version(said: str, version: tuple[int, int]) -> None:
    assert wrapper.node_version(said) == version


def test_a_lock_that_a_larger_one_contains_counts_as_installed(begun: Path) -> None:
    bare = wrapper.Checkout(begun)
    wrapper.set_up(bare, "test.txt")
    stamps = json.loads(bare.stamp.read_text())
    assert stamps["runtime.txt"] == wrapper.digest(bare.locks / "runtime.txt")


def test_the_locks_of_the_repository_have_a_hash_for_every_pin() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        pins = lock.read_text().replace("\\\n", "").splitlines()
        assert pins
        assert all("==" in pin and "--hash=sha256:" in pin for pin in pins), lock
