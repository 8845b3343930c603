"""The frontier page in a real browser: what a person can see and do, and what no data can do there.

Needs Chromium or Chrome on the PATH; it is driven through its own debugging pipe.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optimizers.records.candidate import Candidate, Nearest, PredictorPrompt
from optimizers.records.prompts import Piece, SentMessage, SentPrompt
from optimizers.records.report import (
    Attack,
    Comparison,
    Drop,
    Effect,
    Estimate,
    FrontierReport,
    Importance,
    Optimism,
    Point,
    Robustness,
    Suspect,
)
from optimizers.results.failures import Answer, CandidateErrors, LabelScore, SampleError
from optimizers.results.render.page import Detail, write_page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next((found for name in NAMES if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"no browser on the PATH: {', '.join(NAMES)}")

HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"><b>bold</b>"
LONG = "word" * 200


class Browser:
    """One tab of a headless browser, over the DevTools protocol on two pipes."""

    def __init__(self, profile: Path) -> None:
        assert BROWSER is not None
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # The protocol wants exactly descriptors 3 and 4.
        actions = [(os.POSIX_SPAWN_DUP2, theirs_in, 3), (os.POSIX_SPAWN_DUP2, theirs_out, 4)]
        quiet = os.open(os.devnull, os.O_WRONLY)
        actions += [(os.POSIX_SPAWN_DUP2, quiet, 1), (os.POSIX_SPAWN_DUP2, quiet, 2)]
        switches = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--remote-debugging-pipe",
        ]
        command = [BROWSER, *switches, f"--user-data-dir={profile}", "about:blank"]
        self._process = os.posix_spawn(BROWSER, command, dict(os.environ), file_actions=actions, setpgroup=0)
        for descriptor in (theirs_in, theirs_out, quiet):
            os.close(descriptor)
        self._number, self._rest, self._session = 0, b"", ""
        self.events: list[dict[str, Any]] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._in)
        os.close(self._out)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], 60)
            received = os.read(self._in, 1 << 16) if ready else b""
            assert received, "the browser went silent"
            self._rest += received
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)

    def open(self, path: Path, width: int = 1280, scheme: str = "light") -> None:
        self.events = []
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False
        )
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.send("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())
        self.send("Page.bringToFront")
        self.settle()

    def settle(self) -> None:
        """Wait until what was asked for is laid out and drawn: a redraw under a click would lose it."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        shown = self.run(f"document.querySelector({selector!r}).innerText")
        return str(shown).replace("\u00a0", " ")

    def press(self, key: str) -> None:
        code = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center'}})")
        self.settle()
        place = self.run(
            f"(() => {{ const box = document.querySelector({selector!r}).getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        at = {"x": place[0], "y": place[1], "button": "left", "clickCount": 1}
        self.send("Input.dispatchMouseEvent", type="mousePressed", **at)
        self.send("Input.dispatchMouseEvent", type="mouseReleased", **at)

    @property
    def complaints(self) -> list[str]:
        """Errors of the script, refusals of the policy, and whatever else the console got."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [json.dumps(event) for event in self.events if event.get("method") in kinds]

    @property
    def requested(self) -> list[str]:
        sent = [event for event in self.events if event.get("method") == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


def around(mean: float, reach: float, n: int) -> Estimate:
    return Estimate(mean=mean, low=max(0, mean - reach), high=min(1, mean + reach), n=n)


def point(model: str, cost: float, mean: float, *roles: Any, said: str = "plain", **changes: Any) -> Point:
    prompt = PredictorPrompt(
        instruction=f"Decide: {said}",
        instruction_name=said,
        demos=({"review": said},),
        demos_name=f"{1e9 * cost:.0f}",
    )
    chosen = {"rendering": "completion", "technique": "direct", "predictors": {"classify": prompt}}
    made: dict[str, Any] = {
        "candidate": Candidate(
            model=model, **chosen | {key: changes.pop(key) for key in tuple(changes) if key in chosen}
        ),
        "kind": "base",
        "size": 0.3,
        "roles": roles,
        "dev": around(mean, 0.1, 50),
        "test": None if roles == ("searched",) else around(mean, 0.05, 400),
        "cost": cost,
        "latency": 0.2,
        "prompt_tokens": 100,
        "completion_tokens": 2,
    }
    return Point(**made | changes)


def study(said: str = "plain") -> FrontierReport:
    interval = {"difference": -0.03, "low": -0.06, "high": 0.0, "p_value": 0.4}
    compared = Comparison(
        against="x", margin=0.02, verdict="indecisive", cost_ratio=0.5, n=400, more=900, **interval
    )
    near = PredictorPrompt(instruction=said, nearest=Nearest(count=2, pool=({"review": said},) * 9))
    points = (
        point("local/small", 1e-7, 0.8, "frontier", "best", said=said, kind="instruct", comparison=compared),
        point("local/small", 2e-7, 0.0, "default", said=said, kind="instruct"),
        point("local/large", 3e-7, 0.9, "frontier", "best", "reference", said=said),
        point("local/large", 5e-7, 0.7, "searched", said=said, technique="chain_of_thought"),
        point("local/large", 6e-7, 0.6, "searched", predictors={"classify": near}),
    )
    effects = (
        Effect(value=said, effect=0.0, low=0.0, high=0.0, candidates=3),
        Effect(value="b", effect=0.2, low=0.1, high=0.3, cost_ratio=2.0, candidates=2),
    )
    importance = Importance(
        model=None, dimension=said, share=0.4, low=0.1, high=0.7, baseline=said, effects=effects
    )
    answers = {"inputs": {"review": said}, "gold": {"label": "a"}, "said": {"label": said}}
    suspect = Suspect(example="e", share=1.0, candidates=4, models=("local/small",), **answers)
    told = {"study": "study", "metric": "exact", "reference": "local/large", "answer": f"The answer: {said}"}
    return FrontierReport(
        **told,
        task=said,
        margin=0.02,
        points=points,
        hypervolume=0.5,
        trials=5,
        rollouts=100,
        seconds=60.0,
        notes=(said,),
        optimism=Optimism(optimism=0.02, candidates=5, examples=50),
        suspects=(suspect,),
        importance=(importance,),
        robustness=tuple(stands(one.candidate.id, said) for one in points if "frontier" in one.roles),
    )


def stands(candidate: str, said: str) -> Robustness:
    drop = Drop(rule=said, clean=0.9, drop=0.125, low=0.05, high=0.2, n=30)
    attack = Attack(rule=f"{said} in review", success=around(0.25, 0.1, 28), drop=drop)
    return Robustness(
        candidate=candidate, perturbed=drop, rules=(drop,), attacked=attack, injections=(attack,)
    )


def details(report: FrontierReport, said: str = "plain") -> dict[str, Detail]:
    one = Detail(
        sent=(
            SentPrompt(
                predictor="classify",
                messages=(SentMessage(role="user", pieces=(Piece(part="input", text=f"as sent: {said}"),)),),
            ),
        ),
        found=CandidateErrors(
            labels=(LabelScore(field="label", label=said, mean=0.25, n=8),),
            errors=(
                SampleError(
                    inputs={"review": said},
                    right={"label": "a"},
                    said=(Answer(output={"label": "b"}, score=0),),
                ),
            ),
        ),
    )
    return {point.candidate.id: one for point in report.points}


CURVE = [(0.0, 0.5), (0.01, 0.7), (0.04, 0.9)]


def opened(browser: Browser, tmp_path: Path, said: str = "plain", **how: Any) -> FrontierReport:
    report, path = study(said), tmp_path / "frontier.html"
    write_page(report, path, details(report, said), CURVE)
    browser.open(path, **how)
    return report


def test_the_page_draws_itself_without_a_complaint_or_a_request(browser: Browser, tmp_path: Path) -> None:
    opened(browser, tmp_path)
    assert browser.complaints == []
    assert [url.partition("?")[0] for url in browser.requested] == [(tmp_path / "frontier.html").as_uri()]
    assert browser.run("document.querySelectorAll('.point').length") == 5
    shown = browser.text("main")
    told = ("can small replace large?", "NOT SETTLED", "not settled (0.0 to 6.0)", "360 right", "+2.0")
    for expected in (*told, "reference: best of large", "US dollars spent"):
        assert expected in shown


def test_what_models_and_users_wrote_stays_text(browser: Browser, tmp_path: Path) -> None:
    opened(browser, tmp_path, HOSTILE)
    browser.run(
        "for (const one of document.querySelectorAll('.point'))"
        "one.dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    assert HOSTILE in browser.text("#task")
    assert HOSTILE in browser.text("#panel-body")
    assert HOSTILE in browser.text("#groups")
    assert browser.run("document.querySelectorAll('img, main b:not(td b), dialog b, script').length") == 2
    assert browser.run("document.title").startswith("</script>")
    assert browser.complaints == []


def test_the_policy_refuses_code_and_requests_that_are_not_the_pages_own(
    browser: Browser, tmp_path: Path
) -> None:
    opened(browser, tmp_path)
    tried = """(async () => {
      const refused = [];
      const attempts = {
        markup: () => { document.body.innerHTML = "<p>"; },
        script: () => { document.createElement("script").text = "1"; },
        request: () => fetch("http://127.0.0.1:9/"),
      };
      for (const [name, attempt] of Object.entries(attempts)) {
        const blocked = new Promise((done) => document.addEventListener(
          "securitypolicyviolation", (event) => done(event.effectiveDirective), { once: true }));
        try { await attempt(); } catch { /* refused */ }
        const nothing = new Promise((done) => setTimeout(done, 5000, "nothing"));
        refused.push(`${name} by ${await Promise.race([blocked, nothing])}`);
      }
      return refused;
    })()"""
    rule = "require-trusted-types-for"
    assert browser.run(tried) == [f"markup by {rule}", f"script by {rule}", "request by connect-src"]


def test_points_can_be_walked_and_opened_with_the_keyboard(browser: Browser, tmp_path: Path) -> None:
    report = opened(browser, tmp_path)
    assert browser.run("document.querySelectorAll('.point[tabindex=\"0\"]').length") == 1
    browser.run("document.querySelector('.point[tabindex=\"0\"]').focus()")
    assert "completion, direct" in browser.text("#tip")
    browser.press("ArrowRight")
    browser.press("ArrowRight")
    focused = "document.activeElement.getAttribute('aria-label')"
    assert "large" in browser.run(focused)
    # Upwards goes by quality: from the best one there is nowhere to go.
    browser.press("ArrowUp")
    assert "test 360 of 400" in browser.run(focused)
    browser.press("Enter")
    assert browser.run("document.getElementById('panel').open")
    panel = browser.text("#panel-body")
    told = ("as sent: plain", "Decide: plain", "max_tokens", "0.250, n = 8", "right")
    for expected in (*told, report.points[2].candidate.id):
        assert expected in panel
    browser.press("ArrowRight")
    assert report.points[3].candidate.id in browser.text("#panel-body")
    browser.press("Escape")
    assert not browser.run("document.getElementById('panel').open")
    assert "test 360 of 400" in browser.run(focused)


def test_a_click_on_a_point_opens_it(browser: Browser, tmp_path: Path) -> None:
    report = opened(browser, tmp_path)
    browser.click(".point[aria-label*='1. small']")
    assert report.points[0].candidate.id in browser.text("#panel-body")
    assert "900 more test rows would settle it" in browser.text("#panel-body")


def test_filters_hide_points(browser: Browser, tmp_path: Path) -> None:
    opened(browser, tmp_path)
    tick = "[...document.querySelectorAll('label')].find((one) => one.textContent === {!r}).click()"
    for name, left in (("chain of thought", 4), ("plain default", 3), ("instruct", 2), ("large", 0)):
        browser.run(tick.format(name))
        assert browser.run("document.querySelectorAll('.point').length") == left
    assert "No measured point passes the filters" in browser.text("#chart")
    browser.run(tick.format("large"))
    assert browser.text("#count") == "2 of 5 points shown."


@pytest.mark.parametrize("width", [390, 1280])
def test_long_words_do_not_push_the_page_sideways(browser: Browser, tmp_path: Path, width: int) -> None:
    opened(browser, tmp_path, LONG, width=width)
    sideways = "document.documentElement.scrollWidth - window.innerWidth"
    assert browser.run(sideways) <= 0
    browser.run("document.querySelector('button.text').click()")
    panel = "document.getElementById('panel')"
    assert browser.run(f"{panel}.scrollWidth - {panel}.clientWidth") <= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(browser: Browser, tmp_path: Path, scheme: str) -> None:
    """A contrast of at least 4.5, as WCAG 2.2, 1.4.3 asks of text."""
    opened(browser, tmp_path, scheme=scheme)
    contrast = """(() => {
      const light = (colour) => {
        const parts = colour.match(/[0-9.]+/g).slice(0, 3).map((part) => part / 255)
          .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
      };
      const ground = light(getComputedStyle(document.body).backgroundColor);
      const texts = ["h1", ".soft", ".verdict", "button.text", "svg text", "legend", "dt"];
      return texts.map((name) => {
        const style = getComputedStyle(document.querySelector(name));
        const ink = light(name.startsWith("svg") ? style.fill : style.color);
        return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
      });
    })()"""
    assert min(browser.run(contrast)) >= 4.5
    dark = browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 28)"
    assert dark == (scheme == "dark")


def test_a_study_with_little_to_show_says_so(browser: Browser, tmp_path: Path) -> None:
    full, path = study(), tmp_path / "frontier.html"
    bare = {"suspects": (), "importance": (), "notes": (), "optimism": None}
    write_page(full.model_copy(update={**bare, "points": ()}), path, {})
    browser.open(path)
    assert browser.complaints == []
    assert "Nothing has been measured yet" in browser.text("#chart")
    assert browser.run("document.getElementById('anytime').hidden")

    untested = tuple(one.model_copy(update={"test": None}) for one in full.points)
    write_page(full.model_copy(update={**bare, "points": untested[:1]}), path, {}, [(0.0, 0.5)])
    browser.open(path)
    assert browser.complaints == []
    assert "dev 40 of 50" in browser.run("document.querySelector('.point').getAttribute('aria-label')")
    assert "overstate" in browser.text("#know")
    browser.run("document.querySelector('button.text').click()")
    assert "are not in this page" in browser.text("#panel-body")


def test_the_curve_goes_on_to_all_that_was_spent(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "frontier.html"
    write_page(study(), path, {}, [(0.1, 0.5), (0.4, 0.8), (1.0, 0.8)])
    browser.open(path)
    assert browser.complaints == []
    assert "0.80 after 40%" in browser.text("#anytime-reading")
    assert "$1 in all" in browser.text("#anytime-reading")
    dot, end = browser.run(
        "[+document.querySelector('#curve circle').getAttribute('cx'),"
        " document.querySelector('#curve path.steps').getPointAtLength(1e9).x]"
    )
    assert dot < end


def test_a_free_point_and_one_far_below_have_a_place(browser: Browser, tmp_path: Path) -> None:
    full, path = study(), tmp_path / "frontier.html"
    free = full.points[0].model_copy(update={"cost": 0.0})
    write_page(full.model_copy(update={"points": (free, *full.points[1:])}), path, {})
    browser.open(path)
    assert browser.complaints == []
    marks = browser.run("[...document.querySelectorAll('#chart text')].map((one) => one.textContent)")
    assert "free" in marks
    assert "\u2193 0.00" in marks
    places = browser.run(
        "[...document.querySelectorAll('.point')].map((one) => one.getBoundingClientRect())"
        ".map((box) => [box.x, box.y])"
    )
    area = browser.run(
        "(({x, y, right, bottom}) => [x, y, right, bottom])"
        "(document.querySelector('#chart svg').getBoundingClientRect())"
    )
    assert all(area[0] <= x <= area[2] and area[1] <= y <= area[3] for x, y in places)


def test_robustness_is_shown_for_each_change(browser: Browser, tmp_path: Path) -> None:
    opened(browser, tmp_path)
    browser.run("document.querySelector('#stands summary').click()")
    shown = browser.text("#stands")
    assert shown.count("-12.5") >= 2
    assert "25%" in shown
    assert "plain in review" in shown
    write_page(study().model_copy(update={"robustness": ()}), tmp_path / "frontier.html", {}, CURVE)
    browser.open(tmp_path / "frontier.html")
    assert browser.run("document.getElementById('stands').hidden")
