from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from perpixel.reporting.curves import MOST_POINTS, chart
from perpixel.reporting.differences import compare, flatten
from perpixel.reporting.gallery import MOST_SAMPLES, SIDE, gallery
from perpixel.reporting.quality import quality_tables
from perpixel.reporting.report import write_report
from perpixel.tracking.runs import Run, load_sweep

Attributes = dict[str, str | None]


class Page(HTMLParser):
    """What a browser would find: elements with their attributes, and the text of the leaderboard."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, Attributes]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[Attributes]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="session")
def html(sweep_dir: Path) -> str:
    return write_report(sweep_dir).read_text()


@pytest.fixture(scope="session")
def page(html: str) -> Page:
    return Page(html)


def test_the_page_needs_nothing_from_outside(html: str, page: Page) -> None:
    links = [value for _, found in page.elements for key in ("src", "href", "data") if (value := found.get(key))]
    assert len(links) > 6
    assert all(link.startswith(("data:", "#")) for link in links)
    assert not re.search(r"https?://|@import|url\(", html)
    assert "link" not in {tag for tag, _ in page.elements}
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert str(policy).startswith("default-src 'none'")


def test_the_page_is_small(html: str) -> None:
    assert len(html) < 600_000


def test_rows_carry_numbers_to_sort_by(html: str, page: Page) -> None:
    bodies = [body for body in page.all("tbody") if "data-status" in body]
    assert [body["data-status"] for body in bodies] == ["finished"] * 4 + ["pending", "failed"]
    table = html.partition('id="runs"')[2].partition("</table>")[0]
    values = [re.findall(r'data-value="([^"]*)"', row) for row in table.split("<tbody")[1:]]
    assert len(re.findall(r"data-column", table)) == 10 == len(values[0])
    assert [row[0] for row in values] == ["1", "2", "3", "4", "", ""]
    scores = [float(row[3]) for row in values[:4]]
    assert scores == sorted(scores, reverse=True)


def test_a_failed_run_is_shown_with_its_error_and_nothing_of_it_is_markup(html: str, page: Page) -> None:
    assert "CUDA out of memory: tried to allocate &lt;2 GiB&gt; &amp; gave up" in html
    assert "&lt;script&gt;alert(&#34;from an error&#34;)&lt;/script&gt;" in html
    assert len(page.all("script")) == 1
    assert "1 failed" in html
    assert "1 pending" in html


def test_names_and_values_of_users_are_escaped_everywhere(tmp_path: Path) -> None:
    evil = "'\"><img src=x onerror=alert(1)>"
    jobs = [{"num": n, "dir": f"{n}_job", "overrides": [f"note={evil}{n}"]} for n in range(2)]
    (tmp_path / "sweep.json").write_text(json.dumps({"command": [evil], "started": evil, "jobs": jobs}))
    for n in range(2):
        run = tmp_path / f"{n}_job"
        run.mkdir()
        manifest = {"name": evil, "status": "finished", "error": evil, "git": {"commit": f"{evil}{n}", evil: evil}}
        (run / "manifest.json").write_text(json.dumps(manifest))
        scores = {"mIoU": 0.5, f"IoU/{evil}": 0.5, "IoU/b": 0.5, "confusion": [[5, 5], [5, 5]]}
        (run / "metrics.json").write_text(json.dumps({"classes": [evil, "b"], "val": scores}))
        (run / "metrics.jsonl").write_text('{"epoch": 0, "val/mIoU": 0.1}\n{"epoch": 1, "val/mIoU": 0.2}\n')
        (run / "config.yaml").write_text(json.dumps({"note": f"{evil}{n}", evil: 1}))
    page = Page(write_report(tmp_path).read_text())
    assert [image for image in page.all("img") if image.get("src") == "x"] == []
    assert not any("onerror" in attributes for _, attributes in page.elements)
    points = [json.loads(str(path["data-points"])) for path in page.all("path")]
    assert [point[:2] for point in points[0]] == [[0, 0.1], [1, 0.2]]


def test_every_run_predicts_the_same_images(sweep_dir: Path) -> None:
    shown = gallery(load_sweep(sweep_dir).runs)
    assert len(shown.runs) == 4
    assert [row.sample for row in shown.rows] == [f"val_{n:03d}" for n in range(MOST_SAMPLES)]
    assert all(all(row.predictions) for row in shown.rows)


def test_large_overlays_are_shrunk_and_broken_ones_left_out(tmp_path: Path) -> None:
    (tmp_path / "overlays").mkdir()
    Image.fromarray(np.zeros((500, 4 * 1000 + 12, 3), np.uint8)).save(tmp_path / "overlays" / "large.png")
    (tmp_path / "overlays" / "half.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (row,) = gallery([Run(tmp_path, "run")]).rows
    assert row.sample == "large"
    assert len(row.input) < 10 * SIDE


def test_what_differs_is_shown_and_paths_that_repeat_the_directory_are_not(html: str) -> None:
    differing = html.partition("What differs between the configs</h2>")[2].partition("<h2>Provenance")[0]
    assert "loss.label_smoothing" in differing.partition("settings")[0]
    assert "decoder-transposed_loss-ce" not in differing
    assert "git.dirty" in html.partition("Not the same for all runs")[2]


def test_a_single_run_gets_a_page_of_its_own(sweep_dir: Path) -> None:
    text = write_report(sweep_dir / "3_decoder-bilinear_loss-dice").read_text()
    assert "Leaderboard" not in text
    scores = text.partition("<h2>Scores</h2>")[2].partition("<h2>")[0]
    assert "fwIoU" in scores
    assert "mSmallObjectRecall" in scores
    assert "mPrecision" not in scores, "no split has it"
    diagrams = [image for image in Page(text).all("img") if str(image["alt"]).startswith("reliability diagram")]
    assert [image["alt"] for image in diagrams] == ["reliability diagram on val", "reliability diagram on test"]


def test_a_sweep_compares_edges_and_calibration_run_by_run(html: str) -> None:
    section = html.partition("small objects, calibration</h2>")[2].partition("<h2>")[0]
    tables = [re.findall(r"<tr>.*?</tr>", part, re.S) for part in section.split("<table>")[1:]]
    assert [len(rows) for rows in tables] == [5, 5], "a heading and the four finished runs, for val and test"
    assert "boundary IoU" in tables[0][0]
    assert "thin recall" not in tables[0][0], "no run has one"
    assert [row.count("best") for row in tables[0][1:]] == [4, 0, 0, 0], "the first run, also by its lowest ECE"


def test_runs_without_such_scores_have_no_such_table() -> None:
    assert quality_tables([Run(Path("a"), "a", scores={"val": {"mIoU": 0.5, "ECE": None}})]) == ()


@pytest.mark.parametrize(
    "content", [None, '{"status": "running", "name": "r"}', '{"status": "failed", "error": "boom"}']
)
def test_a_run_that_has_not_got_far_still_gives_a_page(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / "manifest.json").write_text(content)
    assert "no run has finished yet" in write_report(tmp_path).read_text()


def test_seeds_get_a_table(tmp_path: Path) -> None:
    jobs = [{"num": n, "dir": f"{n}", "overrides": ["loss=ce", f"seed={n}"]} for n in range(2)]
    (tmp_path / "sweep.json").write_text(json.dumps({"jobs": jobs}))
    for n in range(2):
        (tmp_path / f"{n}").mkdir()
        (tmp_path / f"{n}" / "manifest.json").write_text('{"status": "finished"}')
        (tmp_path / f"{n}" / "metrics.json").write_text(json.dumps({"val": {"mIoU": 0.4 + 0.1 * n}}))
    assert "0.450 ± 0.071" in write_report(tmp_path).read_text()


def test_long_curves_are_thinned_but_keep_their_best_and_last_point() -> None:
    points = [(epoch, 1.0 if epoch == 777 else epoch / 2000) for epoch in range(1000)]
    drawn = chart("val mIoU", [(0, "run", points), (1, "empty", [])], highest_is_best=True)
    assert drawn is not None
    (line,) = drawn.lines
    assert len(line.points) <= MOST_POINTS + 2
    assert line.best[:2] == (777, 1.0)
    assert {777, 999} <= {point[0] for point in line.points}


def test_flat_and_single_curves_have_a_scale() -> None:
    assert chart("loss", [(0, "run", [(0, 0.5)])], highest_is_best=False) is not None
    assert chart("loss", [], highest_is_best=False) is None


def test_nested_configs_compare_by_dotted_keys() -> None:
    first = flatten({"a": {"b": 1, "c": [1, 2]}, "parts": [{"w": 1}]})
    assert first == {"a.b": "1", "a.c": "[1, 2]", "parts.0.w": "1"}
    found = compare([first, first | {"a.b": "2"}, {"a.c": "[1, 2]", "parts.0.w": "1"}])
    assert found.differing == {"a.b": ("1", "2", None)}
    assert set(found.common) == {"a.c", "parts.0.w"}
