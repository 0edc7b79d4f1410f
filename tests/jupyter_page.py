"""JupyterLab in a headless Chromium, for tests and benchmarks that look at a notebook as a reader does."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from playwright.sync_api import Browser, Locator, Page, sync_playwright

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
HOW_TO_INSTALL = "Chromium is not installed, so nothing is tried in a browser. On Debian: apt-get install -y chromium"


def chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


@dataclass
class Lab:
    """A JupyterLab server: its address with the token, and the file it writes its log to."""

    url: str
    token: str
    log: Path

    def tracebacks(self) -> str:
        """The log from the first traceback of the server or a kernel on; empty if there is none."""
        text = self.log.read_text()
        return text[text.index("Traceback") :] if "Traceback" in text else ""


@contextmanager
def jupyter_lab(folder: Path, scratch: Path) -> Iterator[Lab]:
    """Serve a folder on this machine alone, on a free port, with a random token and settings of its own."""
    names = ("CONFIG_DIR", "RUNTIME_DIR", "DATA_DIR")
    environment = os.environ | {f"JUPYTER_{name}": str(scratch / name.lower()) for name in names}
    environment |= {"JUPYTERLAB_SETTINGS_DIR": str(scratch / "settings"), "OMP_NUM_THREADS": "1"}
    environment |= {"JUPYTERLAB_WORKSPACES_DIR": str(scratch / "workspaces"), "JUPYTER_TOKEN": secrets.token_hex(16)}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    command += ["--ServerApp.port=0", f"--ServerApp.root_dir={folder}", "--LabApp.news_url=None"]
    command += ["--LabApp.expose_app_in_browser=True"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    no_news = scratch / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    no_news.parent.mkdir(parents=True)  # their question would lie over the notebook
    no_news.write_text('{"fetchNews": "false"}')
    log = scratch / "server.log"
    with log.open("w") as file:
        server = subprocess.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield Lab(_address(server, scratch / "runtime_dir", log), environment["JUPYTER_TOKEN"], log)
    finally:
        server.terminate()
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def write_notebook(path: Path, *cells: str) -> None:
    """A notebook of code cells that names its kernel, so that nobody is asked for it."""
    kernel = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": kernel})
    notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    nbformat.write(notebook, path)


@dataclass
class NotebookPage:
    """A notebook opened in the browser, and the errors that its page reported."""

    page: Page
    errors: list[str] = field(default_factory=list)

    def run_all(self, *, seconds: float) -> None:
        """Run > Run All Cells, from the menu, and wait until the kernel is idle."""
        self.page.locator(".lm-MenuBar-itemLabel", has_text="Run").click()
        self.page.locator(".lm-Menu-itemLabel").get_by_text("Run All Cells", exact=True).click()
        self.page.wait_for_function(_WAITING, timeout=60_000)
        self.page.wait_for_function(_ALL_RUN, timeout=1000 * seconds)

    def scroll_to(self, selector: str) -> Locator:
        """Scroll down until something is there, as a reader does: cells out of sight are not on the page."""
        found = self.page.locator(selector).first
        panel = self.page.locator(".jp-WindowedPanel-outer").first.bounding_box()
        assert panel is not None
        self.page.mouse.move(panel["x"] + 5, panel["y"] + panel["height"] / 2)
        self.page.keyboard.press("Control+Home")
        for _ in range(200):
            if found.count() and found.is_visible():
                found.scroll_into_view_if_needed()
                return found
            self.page.mouse.wheel(0, 400)
            self.page.wait_for_timeout(60)
        raise AssertionError(f"{selector} does not appear on the page")

    def kernel_errors(self) -> list[str]:
        errors: list[str] = self.page.evaluate(_ERRORS)
        return errors


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium; one at a time."""
    how = {"executable_path": chromium(), "args": list(FLAGS)}
    with sync_playwright() as playwright, closing(playwright.chromium.launch(**how)) as started:
        yield started


@contextmanager
def open_notebook(started: Browser, lab: Lab, name: str) -> Iterator[NotebookPage]:
    """Open a notebook of the served folder in a window of its own, and wait for its kernel."""
    with closing(started.new_page(viewport={"width": 1280, "height": 900})) as page:
        opened = NotebookPage(page)
        page.on("pageerror", lambda error: opened.errors.append(str(error)))
        page.on("console", lambda message: message.type == "error" and opened.errors.append(message.text))
        workspace = secrets.token_hex(4)  # of its own: another would open its notebooks again
        page.goto(f"{lab.url}lab/workspaces/{workspace}/tree/{name}?token={lab.token}")
        page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status="idle"]', timeout=90_000)
        page.wait_for_function(_READY, timeout=60_000)
        yield opened


_CELLS = "[...jupyterapp.shell.currentWidget.content.model.cells].filter((cell) => cell.type === 'code')"
_READY = """() => { const panel = jupyterapp.shell.currentWidget;
  return panel?.context?.isReady && panel.sessionContext?.session?.kernel?.status === 'idle'; }"""
_WAITING = f"() => {_CELLS}.some((cell) => cell.executionState === 'running')"
_ALL_RUN = f"""() => {_CELLS}.every((cell) => cell.executionState === 'idle')
  && jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"""
_ERRORS = f"""() => {_CELLS}.flatMap((cell) => cell.sharedModel.toJSON().outputs)
  .filter((output) => output.output_type === 'error' || output.name === 'stderr')
  .map((output) => output.evalue || String(output.text))"""


def _address(server: subprocess.Popen[bytes], runtime: Path, log: Path, *, seconds: float = 90) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        for file in runtime.glob("jpserver-*.json"):
            try:
                url: str = json.loads(file.read_text())["url"]
                urllib.request.urlopen(f"{url}login", timeout=5).close()
                return url
            except (OSError, ValueError, KeyError):
                pass  # half written, or not listening yet
        time.sleep(0.2)
    raise RuntimeError(f"JupyterLab did not start. Its log says:\n{log.read_text()[-2000:]}")
