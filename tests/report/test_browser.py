"""A real browser's opinion of a page: no complaint, nothing loaded, nothing of the data run;
unfolds, filters, fits a phone.
"""

import json

import altair as alt
import pytest

from holdfast.report import Chart, Page, Pair, Section, Table, Tile
from holdfast.report.marks import intervals, lines
from tests.browser import CHROMIUM, Browser

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")

TAKE = "document.title='taken'"
SCRIPT = (
    f'</script></style><script>{TAKE}</script><img src=x onerror="{TAKE}"><svg onload="{TAKE}">'
)
LONG = "unbroken" * 2000


def section(title, severity, words, hostile=""):
    bars = (
        alt.Chart(alt.Data(values=[{"a": 1, "b": words[0] + hostile}]))
        .mark_bar()
        .encode(x="a:Q", y="b:N", tooltip=["b:N"])
    )
    sides = [(f"I say yes, {word} it is", f"I say no, {word} {LONG}") for word in words]
    pairs = [
        Pair(f"f.jsonl:{i}{hostile}", word, f"{word}? {hostile}", *sides[i])
        for i, word in enumerate(words)
    ]
    return Section(
        title + hostile,
        f"Said of {title}. {hostile}\n\nMore.",
        chart=Chart(bars, title.replace(" ", "-"), hostile, hostile),
        table=Table(
            ["name", "n", *"abcdefgh"], [[word + hostile, 1, *[LONG[:40]] * 8] for word in words]
        ),
        measure=Tile("share" + hostile, "12.3%", "95%: 10% to 15%"),
        severity=severity,
        question="Is it?",
        aside=[("Cannot tell", hostile or "nothing")],
        command=f"holdfast train {LONG[:300]} {hostile}",
        pairs=pairs,
    )


TEXTS = (
    "p, h1, h2, h3, h4, td, th, .light, .where, mark, a, summary, .said, small, .says, "
    "label, output, figcaption"
)
LEAST_CONTRAST = f"""(() => {{
  const linear = x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4;
  const light = color => {{
    const [r, g, b] = color.match(/[\\d.]+/g).slice(0, 3).map(x => linear(x / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  }};
  const behind = e => {{
    for (; e; e = e.parentElement) {{
      const color = getComputedStyle(e).backgroundColor;
      if (!/, 0\\)$/.test(color)) return color;
    }}
    return 'rgb(255, 255, 255)';
  }};
  return Math.min(...[...document.querySelectorAll('{TEXTS}')].map(e => {{
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  }}));
}})()"""


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    sections = [
        section("First", "ok", ["apple", "pear"]),
        section("Second", "problem", ["apple", "plum", "fig"], SCRIPT),
        section("Third", "warning", ["quince"], "\u202e\u0000\ud800"),
        Section("Last", "No finding."),
    ]
    folder = tmp_path_factory.mktemp("page")
    return Page(
        f"All of it {SCRIPT}", f"A lead. {SCRIPT}", sections, [Tile("n", LONG[:60], "x")]
    ).write(folder / "report.html")[0]


@pytest.fixture
def opened(browser, path):
    browser.size(1280)
    browser.open(path)
    return browser


def shown(browser, selector):
    return browser.run(
        f"[...document.querySelectorAll({json.dumps(selector)})].filter(e => "
        "e.checkVisibility()).length"
    )


def test_it_opens_without_a_complaint_and_loads_nothing(opened, path):
    assert opened.errors == []
    assert opened.requests == [path.as_uri()]
    assert opened.run("document.querySelectorAll('.chart svg.marks').length") == 3
    assert "could not be drawn" not in opened.run("document.body.innerText")


def test_nothing_of_the_data_runs(opened):
    assert opened.run("document.title").startswith("All of it </script>")
    assert opened.run("document.querySelectorAll('img, [onload], [onerror]').length") == 0
    assert (
        opened.run("[...document.scripts].filter(s => s.type !== 'application/json').length") == 2
    )
    opened.run(
        "(() => { const s = document.createElement('script'); s.textContent = "
        "'document.title = 1'; document.body.append(s) })()"
    )
    assert opened.run("document.title") != "1"  # even a script that got in would be refused
    opened.errors.clear()


def test_the_summary_is_worst_first_and_leads_to_its_section(opened):
    assert opened.run(
        "[...document.querySelectorAll('.glance .severity')].map(e => e.textContent)"
    ) == ["Problem", "Warning", "OK"]
    opened.run("document.querySelector('.glance a').click()")
    assert opened.run("location.hash") == "#s2"
    opened.until("Math.abs(document.getElementById('s2').getBoundingClientRect().top) < 60")


def test_rows_unfold_by_keyboard(opened):
    opened.run("document.querySelector('#s1 .pair summary').focus()")
    assert not opened.run("document.querySelector('#s1 .pair').open")
    opened.press("Enter", 13, "\r")
    assert opened.run("document.querySelector('#s1 .pair').open")
    marks = opened.run(
        "[...document.querySelectorAll('#s1 .pair[open] mark')].map(e => "
        "e.textContent.trim().slice(0, 5))"
    )
    assert marks == ["yes,", "it is", "no,", "unbro"]


def test_rows_filter_by_words_finding_and_light(opened):
    assert shown(opened, ".pair") == 6
    opened.type(".filter [name=words]", "apple")
    assert shown(opened, ".pair") == 2
    assert opened.run("document.querySelector('.filter output').textContent") == "2 of 6 rows"
    assert shown(opened, "main > section") == 2
    choose(opened, "severity", "problem")
    assert shown(opened, ".pair") == 1 and shown(opened, "#s2") == 1
    opened.run("document.querySelector('.filter button').click()")
    opened.until("document.querySelector('.filter output').textContent === '6 rows'")
    choose(opened, "finding", "s3")
    assert shown(opened, "main > section") == 1 and shown(opened, ".pair") == 1
    opened.run("location.hash = '#s1'")  # a link to what the filter hides shows it again
    opened.until("document.getElementById('s1').checkVisibility()")


def choose(browser, name, value):
    browser.run(f"document.querySelector('.filter [name={name}]').value = '{value}'")
    browser.run("document.querySelector('.filter').dispatchEvent(new Event('input'))")


@pytest.mark.parametrize("wide", [360, 390, 768, 1280])
def test_no_screen_scrolls_sideways(opened, wide):
    opened.size(wide)
    opened.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert opened.run("document.documentElement.scrollWidth") <= wide
    assert opened.run("document.querySelector('.page').scrollWidth") <= wide


def test_every_control_has_a_name_and_the_first_tab_skips(opened):
    assert opened.run(
        "[...document.querySelectorAll('.filter input, .filter select')].every(e => "
        "e.labels.length === 1)"
    )
    opened.run("document.activeElement.blur()")
    opened.press("Tab", 9)
    assert opened.run("document.activeElement.className") == "skip"
    opened.press("Enter", 13, "\r")
    assert opened.run("document.activeElement.id") == "content"


def test_colors_are_legible_in_light_and_dark(opened):
    for scheme in ("light", "dark"):
        opened.media(prefers_color_scheme=scheme)
        assert opened.run(LEAST_CONTRAST) >= 4.5, scheme
    opened.media()


def test_it_prints(opened):
    pdf = opened.pdf()
    assert pdf.startswith(b"%PDF") and len(pdf) > 20_000
    assert not opened.run("document.querySelector('details').open")  # as it was before


@pytest.fixture(scope="module")
def charted(tmp_path_factory):
    course = [
        {"name": name, "x": 25 * i, "y": 0.5 + slope * i}
        for name, slope in (("dpo", 0.0123456789), ("rdpo", 0.03))
        for i in range(9)
    ]
    points = [
        {
            "name": f"rater {i} with a name that is long",
            "value": 0.6 + i / 100,
            "low": 0.55,
            "high": 0.81234567,
        }
        for i in range(8)
    ]
    charts = [
        Chart(lines(course, names=["dpo", "rdpo"], x="step", y="win rate", percent=True), "course"),
        Chart(
            intervals(
                points,
                names=[p["name"] for p in points],
                title="how often a rater takes the side of the others",
                percent=True,
            ),
            "raters",
        ),
    ]
    section = Section(
        "A heading that is far too long for one line of a phone",
        chart=charts,
        severity="ok",
        question="Is it?",
    )
    blank = Section("Blank", pairs=[Pair("f:1", "why", "p", "an answer", " \n")])
    return Page("Charts", "A lead.", [section, blank]).write(
        tmp_path_factory.mktemp("charts") / "report.html", pictures=False
    )[0]


TIP = (
    "(() => { const t = document.getElementById('vg-tooltip-element'); return t && "
    "t.classList.contains('visible') ? t.innerText : '' })()"
)


def told(browser):
    """The tooltip, its lines in one."""
    return " ".join(browser.run(TIP).split())


def test_a_pointer_near_a_line_shows_the_nearest_value_in_readable_numbers(browser, charted):
    browser.size(1280)
    browser.open(charted)
    x, y, wide, high = browser.run(
        "(() => { const r = document.querySelector('#chart-course .mark-line "
        "path').getBoundingClientRect();"
        " return [r.x, r.y, r.width, r.height] })()"
    )
    for right, down, expected in (
        (0.53, 0.93, "step 100 win rate 54.9%"),
        (1.01, -0.1, "dpo step 200 win rate 59.9%"),
    ):
        browser.send(
            "Input.dispatchMouseEvent", type="mouseMoved", x=x + wide * right, y=y + high * down
        )
        assert expected in told(browser) and len(told(browser)) < 60
        assert browser.run("document.querySelectorAll('#chart-course .at').length") == 1
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=5, y=5)
    browser.until(f"{TIP} === '' && !document.querySelector('.at')")


def test_arrow_keys_step_through_the_values_of_a_chart(browser, charted):
    browser.size(1280)
    browser.open(charted)
    browser.run("document.querySelector('#chart-raters').focus()")
    heard = "document.querySelector('#chart-raters + .unseen').textContent"
    browser.press("ArrowRight", 39)
    assert "value 60.0% low 55.0% high 81.2%" in told(browser)
    assert (
        browser.run(heard)
        == "name rater 0 with a name that is long, value 60.0%, low 55.0%, high 81.2%"
    )
    browser.press("ArrowLeft", 37)
    assert "rater 7" in told(
        browser
    )  # around the end, and eight in all: an interval is not told again after its point
    browser.press("Escape", 27)
    assert told(browser) == "" and browser.run(heard) == ""


def test_on_a_phone_names_leave_room_for_the_chart_and_a_light_stays_beside_its_heading(
    browser, charted
):
    browser.size(360)
    browser.open(charted)
    plot, chart = (
        browser.run(f"document.querySelector('{what}').getBoundingClientRect().width")
        for what in ("#chart-raters .mark-group .background", "#chart-raters")
    )
    assert plot > 0.5 * chart
    edges = browser.run(
        "[...document.querySelectorAll('#chart-raters .role-axis-title text')].map(e => { "
        "const r = e.getBoundingClientRect();"
        " return [r.left, r.right] })"
    )
    assert all(left >= 0 and right <= 360 for left, right in edges)
    titles = browser.run(
        "[...document.querySelectorAll('#chart-raters .role-axis-title text')].map(e => "
        "e.textContent).join('')"
    )
    assert titles == "how often a rater takesthe side of the others"  # two lines, once
    tops = browser.run(
        "[...document.querySelectorAll('#h1 .icon, #h1 .name')].map(e => e.getClientRects()[0].top)"
    )
    assert abs(tops[0] - tops[1]) < 15
    assert (
        browser.run("document.querySelector('#s2 .side2 .said').textContent").strip()
        == "nothing but empty space"
    )
