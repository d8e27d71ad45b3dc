"""What the page promises: complete, self-contained, and safe to open."""

import re
from html.parser import HTMLParser

import pytest

from slimjax.errors import ConfigError
from slimjax.report import read_run, write_report

HOSTILE = "</pre><script>alert('1')</script><img src=x onerror=alert(2)>\x00\x1b[31m"
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Collects tags and attributes, and checks that every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(autouse=True)
def _coarse_figures(monkeypatch):
    """Saves the time that sharp figures take."""
    monkeypatch.setattr("slimjax.report.images.DOTS_PER_INCH", 40)


def write_page(tmp_path, *folders):
    output = tmp_path / "out" / "report.html"
    files = write_report([read_run(folder) for folder in folders], output)
    return output.read_text(encoding="utf-8"), [path.name for path in files]


def test_the_page_has_figures_inside_and_beside_it(make_run, tmp_path):
    text, files = write_page(tmp_path, make_run())
    names = [f"report_{n}.png" for n in ("run", "structure", "seams", "speed")]
    assert files == ["report.html", *names]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(files)
    page = Page(text)
    assert len(page.links) == 4
    for words in ("41 % of the starting parameters", "5,772,544", "saves too little"):
        assert words in text


def test_the_page_has_no_scripts_and_loads_nothing(make_run, tmp_path):
    page = Page(write_page(tmp_path, make_run())[0])
    assert not {"script", "link", "iframe", "object", "form"} & set(page.tags)
    assert all(link.startswith("data:image/png;base64,") for link in page.links)


def test_text_from_a_run_stays_text(make_run, tmp_path):
    folder = make_run(
        "<b>&run",
        samples=[{"prompt": HOSTILE, "text": HOSTILE}],
        strategy=HOSTILE,
        versions={HOSTILE: HOSTILE},
        machine={"name": [HOSTILE]},
    )
    text, _ = write_page(tmp_path, folder)
    page = Page(text)
    assert "script" not in page.tags
    assert "&lt;script&gt;" in text
    assert not re.search("[\x00-\x08\x0b-\x1f]", text)


def test_samples_in_other_scripts_come_through(make_run, tmp_path):
    samples = [{"prompt": "从前有座山", "text": "从前有座山 山里有座庙。 \ud800"}]
    text, _ = write_page(tmp_path, make_run(samples=samples))
    assert "<pre><b>从前有座山</b> 山里有座庙。" in text


def test_a_running_run_has_a_page_too(make_run, tmp_path):
    text, files = write_page(tmp_path, make_run(finished=False))
    assert "Not finished, at step 600 of 600" in text
    assert len(files) == 5


def test_a_run_without_seams_has_no_figure_of_seams(make_run, tmp_path):
    folder = make_run(num_layers=1)
    (folder / "seams.jsonl").write_text("")
    _, files = write_page(tmp_path, folder)
    assert "report_seams.png" not in files


def test_several_runs_share_a_table_and_a_frontier(make_run, tmp_path):
    folders = [make_run(name) for name in ("small", "large")]
    text, files = write_page(tmp_path, *folders)
    Page(text)
    assert "report_frontier.png" in files
    assert "report_run2_run.png" in files
    assert "<th>1. small</th><th>2. large</th>" in text


def test_errors_on_different_texts_are_not_compared(make_run, tmp_path):
    untested = make_run("untested", error={"valid_bits_per_byte": 1.5})
    text, _ = write_page(tmp_path, make_run("tested"), untested)
    assert "lowest error is 1.41 bits per byte on validation data (tested)" in text


def test_runs_whose_folders_share_a_name_are_told_apart(make_run, tmp_path):
    folder = make_run("seed0", finished=False)
    text, _ = write_page(tmp_path, folder, folder)
    assert "seed0 (1)" in text
    assert "seed0 (2)" in text


def test_numbers_that_are_not_known_never_show_as_nan(make_run, tmp_path):
    nan = float("nan")
    folder = make_run(
        error={"valid_bits_per_byte": nan, "test_bits_per_byte": None},
        size={"params": nan, "params_start": 0, "alpha": float("inf")},
        train={},
        stages=[{"start_step": None, "params": nan}],
        data={"bytes": nan},
    )
    (folder / "seams.jsonl").write_text('{"step": 9, "taken": true, "closed": 5}\n')
    text, _ = write_page(tmp_path, folder)
    text = re.sub("base64,[^']*", "", text)
    assert not re.search(r"\b(nan|inf|NaN|Infinity|None)\b", text)


def test_a_page_is_replaced_whole_and_the_old_one_stays_when_drawing_fails(
    make_run, tmp_path, monkeypatch
):
    output = tmp_path / "out" / "report.html"
    write_page(tmp_path, make_run("one"))
    before = output.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_page(tmp_path, make_run("two"))
    assert output.read_bytes() == before
    assert not list(output.parent.glob(".*"))


def test_a_folder_as_output_is_refused_with_a_better_name(make_run, tmp_path):
    with pytest.raises(ConfigError, match=r"is a folder. Name a file: .*report\.html"):
        write_report([read_run(make_run())], tmp_path)


def test_the_same_run_gives_the_same_page(make_run, tmp_path):
    folder = make_run()
    assert write_page(tmp_path, folder)[0] == write_page(tmp_path, folder)[0]
