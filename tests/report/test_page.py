"""Reports: what is written works from disk alone, and text from data stays text, in every place
where text can go.
"""

import html.parser
import json

import altair as alt
import pytest

from holdfast.errors import OptionError
from holdfast.report import Chart, Details, Page, Pair, Section, Table, Tile
from holdfast.report.charts import inert_json, javascript
from holdfast.report.marks import intervals, lines
from holdfast.report.page import cell_text
from holdfast.visible import visible

HOSTILE = (
    "</script><script>document.title='taken'</script><img src=x "
    "onerror=\"document.title='taken'\"><!-- '\u2028"
)


class Seen(html.parser.HTMLParser):
    """What a browser would make of a page: its elements with attributes, its text, its scripts."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text, self.scripts, self._in = [], [], [], None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._in = tag
            if tag == "script":
                self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag):
        self._in = None if tag == self._in else self._in

    def handle_data(self, data):
        if self._in == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif self._in is None:
            self.text.append(data)

    def tags(self, name):
        return [attrs for tag, attrs in self.elements if tag == name]


def line_chart(name="curve", who="dpo"):
    rows = [{"name": who, "x": x, "y": x / 10} for x in range(5)]
    return Chart(lines(rows, names=[who], x="step", y="loss"), name, "A caption.", "A line.")


def hostile_page():
    points = [{"name": HOSTILE, "value": 0.5, "low": 0.4, "high": 0.6}]
    section = Section(
        HOSTILE,
        HOSTILE,
        chart=[
            Chart(line_chart("curve", HOSTILE).chart, "curve", HOSTILE, HOSTILE),
            Chart(intervals(points, names=[HOSTILE], title=HOSTILE), "points", HOSTILE),
        ],
        table=Table([HOSTILE, "n"], [[HOSTILE, 1]], caption=HOSTILE),
        details=[
            Details(
                HOSTILE, HOSTILE, fields=[(HOSTILE, HOSTILE)], table=Table([HOSTILE], [[HOSTILE]])
            )
        ],
        tiles=[Tile(HOSTILE, HOSTILE, HOSTILE)],
        measure=Tile(HOSTILE, HOSTILE, HOSTILE),
        severity="problem",
        question=HOSTILE,
        aside=[(HOSTILE, HOSTILE)],
        command=HOSTILE,
        pairs=[
            Pair(
                HOSTILE,
                HOSTILE,
                HOSTILE,
                HOSTILE,
                f"{HOSTILE} and more",
                (HOSTILE, HOSTILE),
                [(HOSTILE, HOSTILE)],
            )
        ],
    )
    return Page(HOSTILE, HOSTILE, [section] * 1, [Tile(HOSTILE, HOSTILE, HOSTILE)], footer=HOSTILE)


@pytest.fixture(scope="module")
def hostile():
    return hostile_page().html()


def test_hostile_text_stays_text(hostile):
    seen = Seen(hostile)
    assert not seen.tags("img") and not [
        attrs for _, attrs in seen.elements if any(name.startswith("on") for name in attrs)
    ]
    executed = [text for attrs, text in seen.scripts if attrs.get("type") != "application/json"]
    assert len(executed) == 2 and not any("taken" in text for text in executed)
    assert sum(text.count("document.title='taken'") for text in seen.text) > 20


def test_hostile_chart_data_come_back_whole(hostile):
    specs = [
        json.loads(text)
        for attrs, text in Seen(hostile).scripts
        if attrs.get("type") == "application/json"
    ]
    assert len(specs) == 2
    assert specs[0]["data"]["values"][0]["name"] == visible(
        HOSTILE
    )  # Vega cannot draw line separators
    assert hostile.count("</script>") == 4  # as many as there are scripts


def test_inert_json_by_hand():
    assert inert_json("</script><!--&\u2028") == '"\\u003c/script\\u003e\\u003c!--\\u0026\\u2028"'
    assert json.loads(inert_json({"a": HOSTILE})) == {"a": HOSTILE}
    with pytest.raises(ValueError, match="not JSON compliant"):
        inert_json(float("nan"))


def test_nothing_is_loaded_from_elsewhere(hostile):
    seen = Seen(hostile)
    for _, attrs in seen.elements:
        for name in ("src", "href", "srcset", "action", "data"):
            assert not str(attrs.get(name, "")).startswith(("http:", "https:", "//"))
    style = hostile[hostile.index("<style>") : hostile.index("</style>")]
    assert "url(" not in style and "@import" not in style
    policy = next(
        attrs["content"]
        for attrs in seen.tags("meta")
        if attrs.get("http-equiv") == "Content-Security-Policy"
    )
    assert (
        "default-src 'none'" in policy
        and "unsafe-inline" not in policy.split("script-src")[1]
        and "unsafe-eval" not in policy
    )


def test_the_library_is_there_once_and_only_if_needed():
    page = Page(
        "Two charts",
        "x",
        [Section("a", chart=line_chart("one")), Section("b", chart=line_chart("two"))],
    )
    assert page.html().count(javascript()) == 1
    assert len(Page("None", "x", [Section("a", "b")]).html()) < 30_000


def test_every_chart_is_also_a_picture(tmp_path):
    page = Page(
        "Title", "Lead.", [Section("Part", "Words.", chart=[line_chart("one"), line_chart("two")])]
    )
    written = page.write(tmp_path / "deep" / "report.html")
    assert [path.name for path in written] == ["report.html", "one.png", "two.png"]
    for picture in written[1:]:
        assert picture.read_bytes().startswith(b"\x89PNG\r\n") and picture.stat().st_size > 5000


def test_every_part_is_on_the_page():
    details = Details(
        "Unfold me", "Inside.", fields=[("prompt", "two\nlines")], table=Table(["t"], [[3]])
    )
    section = Section(
        "Part",
        "One.\n\nTwo.",
        table=Table(["a", "b"], [["x", 1234], ["y", None]], caption="Cap"),
        details=[details],
        tiles=[Tile("Small", "9%")],
    )
    page = Page(
        "Title",
        "Lead one.\n\nLead two.",
        [section],
        [Tile("Big", "61%", "58 to 64", "ok")],
        footer="Foot.",
    )
    seen = Seen(page.html())
    text = [piece.strip() for piece in seen.text if piece.strip()]
    for piece in (
        "Title",
        "Lead one.",
        "Lead two.",
        "Big",
        "61%",
        "58 to 64",
        "Part",
        "One.",
        "Two.",
        "Cap",
        "1,234",
        "n/a",
        "Unfold me",
        "Inside.",
        "prompt",
        "Small",
        "9%",
        "Foot.",
    ):
        assert piece in text
    assert "two\nlines" in page.html()
    assert len(seen.tags("details")) == len(seen.tags("summary")) == 1
    assert (
        any(attrs.get("name") == "viewport" for attrs in seen.tags("meta"))
        and seen.tags("html")[0]["lang"] == "en"
    )


def test_columns_of_numbers_are_known():
    table = Table(
        ["who", "share", "mixed"], [["a1", "61% (58 to 64)", "x"], ["b", -0.5, 2], ["c", None, 3]]
    )
    assert table.numeric == [False, True, False]
    assert Table(["a", "b"], [["", ""], ["", 5]]).numeric == [
        False,
        True,
    ]  # an empty cell says nothing
    sentences = [
        ["479 beats 54 2 to 0", "4 to 5", "1,024", "12 of 30", "-0.4 (-3.2 to +2.5)", "3 s"]
    ]
    assert Table(list("abcdef"), sentences).numeric == [False, *[True] * 5]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, "n/a"),
        (float("nan"), "n/a"),
        (1234, "1,234"),
        (0.123456, "0.1235"),
        (True, "yes"),
        ("x", "x"),
    ],
)
def test_cells_by_hand(cell, text):
    assert cell_text(cell) == text


def test_mistakes_are_named():
    with pytest.raises(OptionError, match="2 columns has a row of 1"):
        Table(["a", "b"], [["x"]])
    with pytest.raises(OptionError, match="no name for a picture"):
        line_chart("../up")
    with pytest.raises(OptionError, match="share a name"):
        Page("t", "l", [Section("a", chart=[line_chart("same"), line_chart("same")])]).html()


def test_a_chart_fills_the_page_unless_it_has_a_width():
    bars = alt.Chart(alt.Data(values=[{"a": 1}])).mark_bar().encode(x="a:Q")
    assert Chart(bars, "a").page_spec()["width"] == "container"
    assert Chart(bars.properties(width=120), "a").page_spec()["width"] == 120
    assert "width" not in Chart(bars | bars, "a").page_spec()


def test_an_interval_without_ends_keeps_its_point():
    rows = [
        {"name": "a", "value": 0.5, "low": None, "high": None},
        {"name": "b", "value": None, "low": None, "high": None},
    ]
    chart = intervals(rows, names=["a", "b"], title="t", mark_at=0.5)
    assert [row["name"] for row in chart.to_dict()["layer"][1]["data"]["values"]] == ["a"]


def test_words_between_backticks_are_code_and_nothing_else_gets_through():
    section = Section(
        "Part",
        "Give a `rater` column, or `--model M`.",
        table=Table(["why"], [["`<b>x</b>` and `a\nb`"]]),
        aside=[("Then", "`x` ` y")],
    )
    page = Page("Title", "About `f`.", [section]).html()
    for code in (
        "<code>rater</code>",
        "<code>--model M</code>",
        "<code>&lt;b&gt;x&lt;/b&gt;</code>",
        "<code>f</code>",
        "<code>x</code> ` y",
    ):
        assert code in page
    assert "<b>x</b>" not in page and "`a\nb`" in page


def test_a_question_that_is_the_heading_is_not_asked_twice():
    page = Page(
        "Title",
        "",
        [
            Section("What is there", severity="ok", question="What is there?"),
            Section("Length", question="Is it?"),
        ],
    ).html()
    assert '<p class="asks">What is there?</p>' not in page and '<p class="asks">Is it?</p>' in page


def test_a_link_leads_to_a_file_below():
    assert (
        '<a href="check/report.html">The whole</a>'
        in Page("T", "", [Section("S", link=("The whole", "check/report.html"))]).html()
    )
    for target in ("javascript:alert(1)", "https://example.com", "/etc/passwd", "//example.com"):
        with pytest.raises(OptionError, match="no file beside the page"):
            Section("S", link=("x", target))


def test_a_long_table_reads_each_cell_a_few_times_only(monkeypatch):
    from holdfast.report import page

    seen = []
    monkeypatch.setattr(page, "looks_numeric", lambda cell: seen.append(cell) or True)
    Page("T", "", [Section("S", table=Table(["a", "b"], [[i, i] for i in range(400)]))]).html()
    assert len(seen) <= 10 * 800


def test_names_without_end_are_short_in_a_chart_and_stay_apart():
    """A picture measures a label letter by letter until it fits: nine charts with names of 100 kB
    took two minutes.
    """
    names = [f"{'n' * 50_000}{middle}{'n' * 50_000}" for middle in "ab"]
    bars = (
        alt.Chart(alt.Data(values=[{"name": name, "n": 1} for name in names]))
        .mark_bar()
        .encode(y=alt.Y("name:N", sort=names), x="n:Q")
    )
    spec = Chart(bars, "names").spec()
    shown = [row["name"] for row in spec["data"]["values"]]
    assert shown[0] != shown[1] and shown == spec["encoding"]["y"]["sort"]
    assert all(name.startswith("nnn") and len(name) <= 1000 for name in shown)
