"""The page as a browser shows it; skipped where there is no Chromium."""

import re
import shutil
import subprocess
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from lc2fer.benchmarks import command
from lc2fer.benchmarks.report import document as reports
from lc2fer.benchmarks.report.document import Failure, Outputs, Rate
from lc2fer.benchmarks.views.charts import ENGINES, engine
from lc2fer.benchmarks.views.markdown import markdown
from lc2fer.benchmarks.views.page import page, picture

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="  # a PNG will do
)

# Presses the heading of p50 twice and leaves the order of the targets in the title.
PRESS = """<script>
const heading = [...document.querySelectorAll("th button")].find((one) => one.textContent === "p50 ms");
const order = () => [...document.querySelectorAll("table.sortable tbody tr")].map((row) => row.cells[1].textContent);
heading.click();
const up = order();
heading.click();
document.title = [up, order()].map((one) => one.join(",")).join(";") + ";" + document.documentElement.scrollWidth;
</script>"""


@pytest.fixture
def report(planted, samples):
    made = planted(300, onnx_int8=(5, 2, 1_000_000), openvino_int8=(1, 0, 500_000), stock_onnx_int8=(0, 0, 3_000_000))
    blurred = [Outputs.of(row.outputs.logits[place : place + 20]) for place, row in enumerate(made.rows)]
    rows = tuple(replace(row, perturbed={"blur": found}) for row, found in zip(made.rows, blurred))
    parents = tuple(replace(parent, perturbed={"blur": blurred[0]}) for parent in made.parents)
    return replace(
        made,
        data=replace(made.data, name="<faces> & more", thumbnails={"0": PIXEL, "2": PIXEL}),
        rows=rows,
        parents=parents,
        failures=(Failure("C6", "trt-fp16", "TargetUnavailable", "No driver <here>."),),
        rate=Rate(380_000_000, tuple(samples.launch(1_000_000) for _ in range(3))),
        command=("--configs", "C6"),
    )


def test_the_page_loads_nothing_and_escapes_names(report):
    text = page(report)
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "://" not in text
    assert "&lt;faces&gt; &amp; more" in text
    assert "<faces>" not in text
    assert "No driver &lt;here&gt;." in text
    assert text.count("<svg") == 2
    assert text.count("<details") == 4
    assert "7 answers that are not the parent&#x27;s" in text or "7 answers that are not the parent's" in text
    assert (
        text.count('<img alt="" src="data:image/jpeg;base64,') == 3
    )  # two of onnx-int8's flips, one of them another's
    assert "surprise: <span" in text
    assert "Machine rate: 380 GMAC/s" in text


def test_the_page_says_where_there_are_no_pictures(report):
    text = page(replace(report, data=replace(report.data, thumbnails={})))
    assert "The report holds no pictures: --thumbnails keeps them." in text
    assert "<img" not in text


def test_markdown_holds_the_same_rows(report):
    text = markdown(report)
    assert "| C6      | onnx-int8" in text
    assert "| C6      | onnx-int8     | stock-onnx-int8 |        0.334" in text or "stock-onnx-int8 | 0.33" in text
    assert "C6 trt-fp16 not available here: No driver <here>." in text


def test_everything_is_written_anew_from_the_json(report, tmp_path, capsys):
    reports.write(tmp_path / "report.json", report)
    document = command.main(["--report-only", "--out", str(tmp_path)])
    assert (tmp_path / "report.html").read_text() == page(report)
    assert (tmp_path / "report.md").read_text() == markdown(report)
    assert (tmp_path / "report.svg").read_text() == picture(report)
    assert len(document["rows"]) == 4
    assert "openvino-int8" in capsys.readouterr().out


def test_the_plot_is_a_file_of_its_own(report):
    """A circle and a label for each row in the plot, in colours that the file itself brings."""
    drawing = ElementTree.fromstring(picture(report))
    space = {"svg": "http://www.w3.org/2000/svg"}
    circles = drawing.findall("svg:circle[svg:title]", space)
    assert [circle.find("svg:title", space).text.split(":")[0] for circle in circles] == [
        "C6 torch",
        "C6 onnx-int8",
        "C6 openvino-int8",
        "C6 stock-onnx-int8",
    ]
    style = drawing.find("svg:style", space).text
    assert all(f".{circle.get('class').split()[1]} {{" in style for circle in circles)
    assert style.count("--paper:") == 2  # light and dark
    assert "button" not in style


def test_the_plot_of_one_row_has_numbers_on_both_axes(report):
    """However close its times are: between 2 and 5 ms there is no tick."""
    row = report.rows[1]
    for milliseconds in (0.3, 1.0, 3.0, 9.99):
        launches = tuple(replace(one, samples_ns=(round(milliseconds * 1e6),) * 400) for one in row.launches)
        drawing = picture(replace(report, rows=(replace(row, launches=launches),)))
        numbers = re.findall(r'text-anchor="(middle|end)">([0-9.]+)<', drawing)
        assert len([number for end, number in numbers if end == "middle"]) >= 2, milliseconds
        assert len([number for end, number in numbers if end == "end"]) >= 2


def test_an_empty_report_has_a_page(report):
    text = page(replace(report, rows=(), parents=(), rate=None, data=replace(report.data, thumbnails={})))
    assert "<h2>Rows</h2>" in text
    assert "<svg" not in text


def test_engines_have_their_colours(checkout):
    targets = ("torch", "onnx-fp16", "openvino-int8", "trt-fp16", "rtx-int8", "stock-torch", "x")
    names = [ENGINES[engine(target)] for target in targets]
    assert names == ["torch", "onnx", "openvino", "trt", "rtx", "stock", "stock"]
    style = (checkout / "benchmarks" / "views" / "page.css").read_text()
    assert all(f".e{place} {{" in style for place in range(len(ENGINES)))


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here to open the page in")
@pytest.mark.parametrize("width", [1280, 500])
def test_a_browser_shows_it(report, tmp_path, width):
    """Below 500 pixels a headless Chromium keeps its window that wide."""
    file, picture = tmp_path / "page.html", tmp_path / "page.png"
    file.write_text(page(report).replace("</body>", f"{PRESS}</body>"))
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        f"--user-data-dir={tmp_path / 'user'}",
    ]
    options += ["--enable-logging=stderr", f"--window-size={width},900"]
    done = subprocess.run([CHROMIUM, *options, "--dump-dom", file.as_uri()], capture_output=True, text=True, timeout=90)
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    up, down, widest = re.search(r"<title>(.*?)</title>", done.stdout)[1].split(";")
    fast = "openvino-int8,onnx-int8,torch,stock-onnx-int8"
    assert up == f"{fast},trt-fp16"
    assert down == f"{','.join(fast.split(',')[::-1])},trt-fp16"  # what has no number stays last
    assert int(widest) <= width  # wide parts scroll by themselves
    subprocess.run(
        [CHROMIUM, *options, f"--screenshot={picture}", file.as_uri()], capture_output=True, timeout=90, check=True
    )
    assert picture.stat().st_size > 20_000


def test_points_are_called_by_target_and_no_two_names_overlap(report):
    text = page(report)
    plot = text[text.index('aria-label="Accuracy against latency"') :]
    plot = plot[: plot.index("</svg>")]
    labels = re.findall(r'<circle class="row .*?</circle><text x="([\d.]+)" y="([\d.]+)">(.*?)</text>', plot)
    assert {label for _, _, label in labels} == {row.target for row in report.rows}
    boxes = [(float(x), float(y), 6.6 * len(label)) for x, y, label in labels]
    for place, (x, y, width) in enumerate(boxes):
        assert 60 <= x <= 880 - width
        assert all(abs(y - b) >= 15 or x + width <= a or a + w <= x for a, b, w in boxes[place + 1 :])
