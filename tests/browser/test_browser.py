"""The pages in a real browser: no console errors, nothing asked of the network, no sideways scroll.

Run by `make browser`, which needs Chromium (Debian: apt-get install chromium). Screenshots of the
page of a run, wide and on a phone, light and dark, are left in the folder that SCREENSHOTS names.
"""

import os
import shutil
from pathlib import Path

import pytest
import torch

from boltzwalk.data import Digits
from boltzwalk.energies import NetworkEnergy
from boltzwalk.evaluation.evaluate import EvaluationPlan, evaluate_sections
from boltzwalk.evaluation.long_run import LongRun
from boltzwalk.kernels import ULA
from boltzwalk.methods.contrastive import Contrastive
from boltzwalk.networks import Multilayer
from boltzwalk.reporting.compare import write_comparison
from boltzwalk.reporting.page import write_report
from boltzwalk.settings.settings import Output, Settings, resolve_auto
from boltzwalk.training.execute import execute
from boltzwalk.training.run import open_model

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
PARTS = ("training", "quality", "modes", "anomalies", "long_run")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The pages of two small runs that were evaluated, and of both side by side."""
    torch.set_default_dtype(torch.float32)
    folder = tmp_path_factory.mktemp("runs")
    for name, steps in (("few", 5), ("a<b&more", 10)):
        settings = Settings(
            data=Digits(),
            energy=NetworkEnergy(Multilayer((32,))),
            method=Contrastive(kernel=ULA(1.0, 5e-5), steps=steps),
            updates=100,
            threads=1,
            output=Output(log_every=5, picture_every=0),
        )
        for _ in execute(resolve_auto(settings), folder / name):
            pass
        plan = EvaluationPlan(samples=500, sections=PARTS, long_run=LongRun(seconds=2, steps=200))
        model = open_model(folder / name)
        list(evaluate_sections(model, folder / name, plan))
        write_report(model, folder / name)
    runs = [folder / "few", folder / "a<b&more"]
    return {
        "run": folder / "few" / "report.html",
        "escaped": folder / "a<b&more" / "report.html",
        "comparison": write_comparison(runs, folder / "comparison.html"),
    }


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    assert CHROMIUM, "Chromium must be installed; name it by CHROMIUM=..."
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-background-networking", "--disable-sync"],
        )
        yield opened
        opened.close()


@pytest.mark.parametrize("name", ["run", "escaped", "comparison"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_a_page_is_whole(pages, browser, name, scheme, width):
    said, asked = [], []
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages[name].as_uri())
    assert said == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
    assert page.locator("svg").count() >= 4
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (dark == "rgb(255, 255, 255)") == (scheme == "light")
    ink = page.locator("svg text").first.evaluate("e => getComputedStyle(e).fill")
    assert ink == page.evaluate("getComputedStyle(document.body).color")
    smallest = page.evaluate(
        "Math.min(...[...document.querySelectorAll('svg text')]"
        ".map(e => e.getBoundingClientRect().height))"
    )
    assert smallest > 7  # pixels: letters that can be read
    shots = os.environ.get("SCREENSHOTS")
    if shots:
        path = Path(shots) / f"{name}_{scheme}_{width}.png"
        page.screenshot(path=str(path), full_page=True)
    context.close()
