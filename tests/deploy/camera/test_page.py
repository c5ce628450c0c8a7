"""The page of a running pipeline, as a browser shows it."""

import itertools
import math
import re
import time

import pytest
from browser import CHROMIUM, Browser
from film import TOKEN, Film
from lc2fer.deploy.camera.scene import Box, Face, Status
from PIL import Image

from lc2fer.inputs import LABELS

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
web = pytest.importorskip("lc2fer.deploy.camera.web")


# The tests speak of what the page's modules export, which scripts outside of them do not see.
NAMES = """Promise.all(["live", "own", "places", "program", "state", "tabs"].map((name) => import(`/${name}.js`)))
  .then((modules) => void Object.assign(window, ...modules))"""


@pytest.fixture
def browser(tmp_path):
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here to open the page in")
    opened = []

    def start(url, width=1280, height=900, scheme="light"):
        opened.append(Browser(tmp_path / f"user{len(opened)}", width, height, scheme))
        opened[-1].send("Page.navigate", url=url)
        opened[-1].until("document.readyState === 'complete' && document.title === 'LC2FER live'")
        opened[-1].value(NAMES)
        return opened[-1]

    yield start
    for one in opened:
        one.close()


READY = "document.querySelector('#live .bars .percent')?.textContent.endsWith(' %')"
COLOURS = """((canvas) => {
  const dots = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const found = new Set();
  for (let at = 0; at < dots.length; at += 4 * 97) found.add(dots.slice(at, at + 4).join());
  return found.size;
})"""
BARS = "[...document.querySelectorAll('#live .fill')].map((bar) => bar.style.transform).join()"


def text_of(page, selector):
    return page.value(f"document.querySelector({selector!r}).innerText")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_a_browser_shows_the_live_picture(browser, served, tmp_path, width, scheme):
    page = browser(served.url, width, 800, scheme)
    page.until(READY)
    first, bars = page.value("shared.newest.number"), page.value(BARS)
    page.until(f"shared.newest.number > {first + 10}")
    page.until(f"{BARS} !== {bars!r}")
    assert page.value(f"{COLOURS}(document.querySelector('#live canvas'))") > 60
    assert page.value(f"{COLOURS}(byId('time'))") > 7
    assert page.value("document.documentElement.scrollWidth") == width
    assert page.value("[...document.querySelectorAll('#live .label')].map((one) => one.textContent)") == list(LABELS)
    assert text_of(page, "#about") == "C6 onnx-int8 · ONNX Runtime"
    assert text_of(page, "#chip") == "live"
    assert not page.value("byId('banner').checkVisibility()")
    assert text_of(page, "#fps") == "20"
    assert text_of(page, "#age") == "23 ms"
    assert text_of(page, "#watts") == "7.4 W"
    assert text_of(page, "#stage-list").replace("\n", " ").startswith("wait 6.1 ms detect 1")
    assert "Nothing is stored." in text_of(page, "footer")
    assert "An expression seen is not an emotion felt." in text_of(page, "footer")
    assert 'When no label reaches 40 %, the answer is "unsure" and not a guess.' in text_of(page, "footer")
    paper = page.value("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(243, 245, 247)", "dark": "rgb(15, 18, 21)"}[scheme]
    page.screenshot(tmp_path / "page.png")
    assert Image.open(tmp_path / "page.png").size[0] == width
    assert page.complaints == []


def test_a_face_is_chosen_by_pointer_or_key(browser, served):
    page = browser(served.url)
    page.until(READY)
    assert text_of(page, "#live .who") == "Largest face"
    page.until("document.querySelectorAll('#live .chooser button').length === 3")
    page.value("document.querySelectorAll('#live .chooser button')[2].focus()")
    page.key("Enter", text="\r", windowsVirtualKeyCode=13)
    page.until("document.querySelector('#live .who').textContent === 'Face 2, chosen'")
    shown = page.value("[live.face().track, document.activeElement.getAttribute('aria-pressed')]")
    assert shown == [2, "true"]
    # the larger one, in the middle of where it moves
    where = "(() => { const { x, y, scale } = live.place(), box = live.canvas.getBoundingClientRect();"
    x, y = page.value(f"{where} return [box.x + x + 235 * scale, box.y + y + 225 * scale]; }})()")
    for kind in ("mousePressed", "mouseReleased"):
        page.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
    page.until("document.querySelector('#live .who').textContent === 'Face 1, chosen'")
    page.until("/^2 faces: [a-z]+, [a-z]+.$/.test(live.canvas.getAttribute('aria-label'))")
    page.until("/^Largest face: [a-z]+.$/.test(byId('said').textContent)")
    assert page.value("byId('time').getAttribute('aria-label')").startswith("In the last 60 seconds: ")


def test_the_state_of_the_source_is_told(browser, film):
    film.people, film.watts = 1, None
    with web.serve(film, ("127.0.0.1", 0), None) as server:
        page = browser(server.url)
        page.until(READY)
        assert text_of(page, "#watts") == "no meter"
        assert page.value("document.querySelector('#live .chooser').hidden")
        film.state = Status("lost", "The camera is gone. It is opened again every second.")
        page.until("byId('banner').checkVisibility()")
        assert text_of(page, "#banner") == "The camera is gone. It is opened again every second."
        page.until("byId('age-title').textContent === 'Since the last picture'")
        page.until("live.host.classList.contains('old')")
        assert text_of(page, "#fps") == "\N{EN DASH}"
        film.state = Status("live", "Pictures come again.")
        page.until("!live.host.classList.contains('old') && byId('banner').hidden")
    page.until("byId('chip').innerText === 'no connection'")
    assert text_of(page, "#banner") == "The program does not answer. This page goes on asking."


def test_several_cameras_are_shown_one_at_a_time(browser, served, film):
    film.names = ("front door", "gate <b>")
    page = browser(served.url, 360, 800)
    page.until(READY)
    names = "[...document.querySelectorAll('#sources button')].map((one) => one.textContent)"
    page.until(f"{names}.length === 2")
    assert page.value(names) == ["front door", "gate <b>"]
    pressed = "document.querySelector('#sources [aria-pressed=true]').textContent"
    assert page.value(f"shared.newest.source === {pressed}")
    page.until("document.querySelectorAll('#live .chooser button').length === 3")
    page.value("document.querySelectorAll('#sources button')[1].click()")
    page.until("shared.newest?.source === 'gate <b>' && document.querySelector('#live .chooser').hidden")
    assert page.value(pressed) == "gate <b>"
    film.names = ("front door",)  # the other is not there in the next run
    page.until("byId('sources').hidden && shared.newest?.source === 'front door'")
    assert page.complaints == [] or all("404" in str(one) for one in page.complaints)


def test_a_recording_is_told(browser, served, film):
    film.recorded = ["faces.csv", "seen.mp4"]
    page = browser(served.url)
    page.until(READY)
    assert text_of(page, "#stored").startswith("This is recorded to faces.csv, seen.mp4, as the program was told to.")
    assert "Nothing is stored." not in text_of(page, "footer")


def test_before_the_labels_are_known_nothing_is_said_of_a_face(browser, film, monkeypatch):
    told = film.facts
    monkeypatch.setattr(film, "facts", lambda: time.sleep(2) or told())
    with web.serve(film, ("127.0.0.1", 0), None) as server:
        page = browser(server.url)
        seen = set()
        ends = time.monotonic() + 15
        while time.monotonic() < ends and page.value("shared.newest === null"):
            seen.add(page.value("document.querySelector('#live .name').textContent"))
        assert seen == {"\N{EN DASH}"}
        assert page.value("shared.labels.length") == 7


def test_each_label_has_a_colour_of_its_own(browser, served):
    page = browser(served.url)
    page.value("import('/drawing.js').then((module) => void Object.assign(window, module))")
    colours = page.value("Array.from({length: 100}, (_, label) => colour(label))")
    assert len(set(colours)) == 100
    assert all(re.fullmatch("#[0-9a-f]{6}", one) for one in colours)
    channels = [[int(one[at : at + 2], 16) for at in (1, 3, 5)] for one in colours[:16]]
    nearest = min(math.dist(one, other) for one, other in itertools.combinations(channels, 2))
    assert nearest > 30  # of 441; neighbours of Okabe and Ito's eight are 58 apart


@pytest.mark.parametrize("width", [320, 390])
def test_a_whole_share_stays_on_its_line(browser, served, film, monkeypatch, width):
    shares = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    monkeypatch.setattr(
        film, "_face", lambda person, second: Face(person + 1, Box(99, 99, 150, 150), "happiness", shares)
    )
    page = browser(served.url, width, 800)
    page.until("document.querySelector('#live .named .percent')?.textContent === '100 %'")
    heights = page.value(
        "[...document.querySelectorAll('#live .percent')].map((one) => one.clientHeight || one.offsetHeight)"
    )
    assert len(set(heights)) == 1
    assert heights[0] < 30
    assert page.value("document.documentElement.scrollWidth") == width


def test_the_page_goes_on_with_the_next_run(browser, film):
    with web.serve(film, ("127.0.0.1", 0), None) as server:
        page = browser(server.url)
        page.until("shared.newest?.number > 60")
    page.until("byId('chip').innerText === 'no connection'")
    port = int(server.url.rpartition(":")[2].strip("/"))
    with web.serve(Film(fps=4), ("127.0.0.1", port), None):
        page.until("shared.newest.number < 40 && byId('chip').innerText === 'live'")


def test_without_a_camera_the_viewers_own_picture_comes_first(browser, film, tmp_path):
    film.state = Status("none", "There is no camera here.")
    with web.serve(film, ("127.0.0.1", 0), None) as server:
        page = browser(server.url)
        page.until("!byId('own').hidden")
        assert text_of(page, "#chip") == "no camera"
        assert page.value("byId('tab-own').getAttribute('aria-selected')") == "true"

        Image.effect_noise((300, 400), 90).save(tmp_path / "face.png")
        page.give("#file", tmp_path / "face.png")
        page.until("byId('own-text').textContent.startsWith('One face: happiness. Judged in ')")
        assert film.judged == [(300, 400)]
        page.until("document.querySelector('#own .share').textContent === '88 %'")
        assert text_of(page, "#own .name") == "happiness"
        assert text_of(page, "#own .sure") == "Next: surprise 2 %"
        assert page.value(f"{COLOURS}(document.querySelector('#own canvas'))") > 60

        Image.new("RGB", (32, 32), "red").save(tmp_path / "red.bmp")  # sent as JPEG: the browser can open more kinds
        page.give("#file", tmp_path / "red.bmp")
        page.until("own.size[0] === 32")
        (tmp_path / "letter.txt").write_text("Dear Sir")
        page.give("#file", tmp_path / "letter.txt")
        page.until("byId('own-error').textContent !== ''")
        assert text_of(page, "#own-error") == (
            "letter.txt is no picture that this browser can open. Choose a JPEG or PNG."
        )
        Image.new("RGB", (4, 4)).save(tmp_path / "dot.png")
        page.give("#file", tmp_path / "dot.png")
        page.until("byId('own-error').textContent.startsWith('The picture has 4x4 pixels.')")

        page.value("byId('tab-own').focus()")
        page.key("ArrowLeft")
        assert page.value("document.activeElement.id + !byId('live').hidden") == "tab-livetrue"
        page.until("byId('banner').checkVisibility()")
        assert text_of(page, "#banner") == "There is no camera here."
        assert text_of(page, "#live .veil") == "There is no camera here."


def test_the_browsers_own_camera(browser, served, film):
    page = browser(served.url, 360, 800)
    page.until(READY)
    page.value("select('own'); byId('camera').click()")
    page.until("/^[0-9]+ pictures a second, each judged in /.test(byId('own-text').textContent)")
    page.until("own.face()?.expression === 'happiness'")
    assert text_of(page, "#camera") == "Stop the camera"
    assert page.value("own.mirrored")
    size = film.judged[-1]
    assert max(size) == 640
    assert page.value(f"{COLOURS}(document.querySelector('#own canvas'))") > 7
    page.value("byId('camera').click()")
    page.until("byId('camera').textContent === \"Use this browser's camera\"")
    time.sleep(0.5)
    seen = len(film.judged)
    time.sleep(0.5)
    assert len(film.judged) == seen
    assert page.complaints == []


def test_the_token_comes_in_the_fragment_and_leaves_it(browser, guarded):
    page = browser(guarded.link)
    page.until(READY)
    assert page.value("location.href") == guarded.url
    assert page.value("sessionStorage.getItem('lc2fer-token')") == TOKEN
    assert page.complaints == []
    page.send("Page.reload")
    page.until(READY)


def test_the_token_is_asked_for(browser, guarded):
    page = browser(guarded.url)
    page.until("byId('key').checkVisibility()")
    assert not page.value("byId('main').checkVisibility()")
    assert text_of(page, "#chip") == "locked"
    assert text_of(page, "#key-text").startswith("The program printed an address that ends in #token=.")
    for given, told in (("wrong", True), (TOKEN, False)):
        page.value(f"byId('key-token').value = {given!r}; byId('key').requestSubmit()")
        if told:
            page.until("byId('key-text').textContent.startsWith('The token is wrong.')")
    page.until(READY)
    assert page.value("byId('main').checkVisibility()")


def test_a_late_refusal_does_not_judge_the_token_given_since(browser, guarded):
    page = browser(guarded.url)
    page.until("byId('key').checkVisibility()")
    page.value("""(() => {
      const real = fetch;
      window.fetch = async (...given) => {
        const refused = await real(...given);
        await new Promise((release) => (window.release = release));
        return refused;
      };
      window.late = call("api/status"); // without a token, answered when there is one
      window.fetch = real;
    })()""")
    page.until("window.release !== undefined")
    page.value(f"byId('key-token').value = {TOKEN!r}; byId('key').requestSubmit(); release()")
    assert page.value("late.then((answer) => answer.ok)")
    page.until(READY)
    assert page.value("sessionStorage.getItem('lc2fer-token')") == TOKEN
    assert page.value("byId('main').checkVisibility()")


LENT = """(() => {
  const lend = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  window.lent = [];
  navigator.mediaDevices.getUserMedia = async (asked) => {
    await sleep(500); // the visitor is asked
    lent.push(await lend(asked));
    return lent.at(-1);
  };
})()"""
RUNNING = "lent.flatMap((its) => its.getTracks()).filter((track) => track.readyState === 'live').length"


@pytest.mark.parametrize("then", ["byId('camera').click(); byId('camera').click()", "select('live')"])
def test_a_camera_that_is_lent_late_runs_only_for_who_still_wants_it(browser, served, then):
    """A visitor who clicks again, or goes to another tab, while the browser still asks for the camera."""
    page = browser(served.url)
    page.value(LENT)
    page.value(f"select('own'); byId('camera').click(); {then}")
    wanted = 1 if "click" in then else 0
    page.until(f"lent.length === {wanted + 1}")
    page.until(f"{RUNNING} === {wanted}")
    time.sleep(1)
    assert page.value(RUNNING) == wanted
    if wanted:
        page.value("byId('camera').click()")
        page.until(f"{RUNNING} === 0")
    assert text_of(page, "#camera") == "Use this browser's camera" or not wanted


def test_a_browsers_camera_that_is_pulled_out_is_said_and_not_judged_on(browser, served, film):
    page = browser(served.url)
    page.value(LENT)
    page.value("select('own'); byId('camera').click()")
    page.until("byId('own-text').textContent.includes('pictures a second')")
    page.value("lent[0].getTracks()[0].dispatchEvent(new Event('ended'))")
    page.until("byId('own-error').textContent === 'The camera went away. Look at its cable, and use it again.'")
    judged = len(film.judged)
    time.sleep(1)
    assert len(film.judged) <= judged + 1
    assert text_of(page, "#camera") == "Use this browser's camera"
