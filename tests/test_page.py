"""The page of findings: what it says, that nothing of a log becomes markup, and that it works in a real browser."""

import base64
import hashlib
import json
import re
import sys
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from chromium import FOUND, NAMES, Chromium
from test_reporting import ALL, HOSTILE, ORDINARY, entry, finding, findings_of, log_summary

from logmoe import page, reporting
from logmoe.findings_logmoe import Findings, Reason, Skipped, Summary
from logmoe.page import html, mark

VOID = {"meta", "input", "br"}
# What could break out of a text, of an attribute, of a script or of the page's policy.
BREAKING = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "</code></details></ol></noscript><svg onload=alert(1)><style>*{display:none}</style>"
    " ' \" ` onmouseover=alert(1) {{ 7*7 }} "
    "<!-- --> ]]> &lt;b&gt; javascript:alert(1) " + HOSTILE
)
# The same without what could; what reasons quote in backticks is code.
HARMLESS = re.sub("[^`]+", "word", BREAKING)
each = pytest.mark.parametrize("findings", ALL.values(), ids=ALL)


class Tree(HTMLParser):
    """Reads a page, and says what it is made of; tags must close in order."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.texts, self.attributes = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)

    def all(self, name):
        return [value for _, of, value in self.attributes if of == name]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


# ---------------------------------------------------------------------- what it says


def test_it_says_what_was_judged_and_what_was_found():
    tree = Tree(html(ORDINARY))
    for said in (
        "2 findings in app.log",
        "Judged against good.log (5,000 healthy entries, 95% of this log is familiar).",
        "1 of 3 sequences anomalous; at most 1% of healthy ones would be.",
        "lines 5-9 · 2026-03-12 06:00:05 to 06:00:09 · at most 1 in 200 healthy sequences is as odd",
        "50% 3 times, lines 5-9 connection refused",
        "20% line 9 connection refused at b",
        "all 2 shown",
    ):
        assert said in tree.text
    assert {"0123456789ab", "ba9876543210"} <= set(tree.all("id"))


@each
def test_it_is_whole_and_loads_nothing(findings):
    text = html(findings)
    tree = Tree(text)
    assert tree.tags.count("details") - tree.tags.count("textarea") == len(findings)
    assert not {"img", "link", "iframe", "object", "base", "embed"} & set(tree.tags)
    ids = tree.all("id")
    assert len(ids) == len(set(ids))
    # Every address leads to a place in the page.
    assert {address[0] for address in tree.all("href")} <= {"#"}
    assert {address[1:] for address in tree.all("href")} <= set(ids)
    assert not tree.all("src")
    assert not tree.all("style")
    for name in ("aria-labelledby", "form"):
        assert set(tree.all(name)) <= set(ids)


def test_the_same_trouble_at_two_places_has_two_anchors():
    tree = Tree(html(findings_of(finding(), finding(first_line=50, last_line=60))))
    assert {"0123456789ab", "0123456789ab-2"} <= set(tree.all("id"))


def test_no_findings_and_nothing_judged():
    nothing, unread = Tree(html(ALL["nothing"])).text, Tree(html(ALL["unread"])).text
    assert "No findings in app.log" in nothing
    assert "Nothing stands out." in nothing
    assert "Nothing was judged" in unread
    assert "1 log could not be judged: a.log.gz : damaged" in unread
    assert "Nothing stands out" not in unread


def test_warnings_and_several_logs():
    logs = (log_summary("a/app.log", familiarity=0.1, truncated_entries=3), log_summary("db.log"))
    found = findings_of(finding(source="a/app.log"), finding(source="db.log"), logs=logs)
    tree = Tree(html(found))
    assert "2 findings in 2 logs" in tree.text
    assert "A/app.log: this reference does not fit this log" not in tree.text
    assert "a/app.log: this reference does not fit this log: only 10% of its entries are familiar" in tree.text
    assert "a/app.log: 3 entries are longer than the model reads; it read only the beginning" in tree.text
    assert tree.tags.count("option") == 3


def test_a_page_says_what_the_text_was_taken_for():
    odd = findings_of(finding(), logs=(log_summary(replaced_bytes=3),))
    assert "3 bytes are not valid gb18030" in Tree(reporting.render(odd, "html", encoding="gb18030")).text
    assert "3 bytes are not valid UTF-8" in Tree(reporting.render(odd, "html")).text


# ---------------------------------------------------------------------- the picture


def rows_of(*found):
    return page._rows(Findings(found, Summary()))


def test_what_takes_no_time_or_one_line_has_a_bar_and_what_runs_backward_a_whole_one():
    at_once = finding(first_line=5, last_line=5, start="2026-03-12T06:00:05", end="2026-03-12T06:00:05")
    backward = finding(start="2026-03-12T06:00:40", end="2026-03-12T06:00:20")
    (lane,) = page.picture(rows_of(at_once, backward), ()).lanes
    assert [bar.width > 0 for bar in lane.bars] == [False, True]
    for found in ((at_once, backward), (replace(at_once, start=None, end=None),)):
        # Where nothing is wide browsers draw nothing.
        assert not re.search(r'<rect [^>]*width="0(\.0*)?%"', html(findings_of(*found)))
        assert '<rect class="bar" ' in html(findings_of(*found))


def test_the_picture_goes_by_time_where_all_have_one():
    first = finding(start="2026-03-12T06:00:00Z", end="2026-03-12T06:00:10Z", strength=3.0)
    last = finding(start="2026-03-12T08:00:00+02:00", end="2026-03-12T06:01:40.5Z", strength=1.0)
    drawn = page.picture(rows_of(first, last), [log_summary()])
    assert drawn.by_time
    assert drawn.caption == "2026-03-12 06:00:00Z to 06:01:40Z"
    (lane,) = drawn.lanes
    assert [bar.start for bar in lane.bars] == [page.MARGIN]  # two that begin at once are one bar
    assert (lane.bars[0].number, lane.bars[0].row.number) == (2, 1)
    assert [text for _, text in drawn.ticks] == ["06:00:00", "06:00:30", "06:01:00", "06:01:30"]


def test_the_picture_shows_all_of_each_log_that_has_findings():
    found = (
        finding(start="2026-03-12T06:30:00Z", end=None),
        finding(source="b.log", start="2026-03-12T06:00:30Z", end="2026-03-12T06:01:00Z"),
    )
    logs = (
        log_summary(start="2026-03-12T06:10:00Z", end="2026-03-12T07:00:00Z"),
        log_summary("b.log", start="2026-03-12T06:00:00Z", end=None),  # what is not known is taken from the findings
        log_summary("c.log", start="2001-01-01T00:00:00Z", end="2026-03-12T07:00:00Z"),
    )
    drawn = page.picture(rows_of(*found), logs)
    assert drawn.caption == "2026-03-12 06:00:30Z to 07:00:00Z"
    one, other = sorted(drawn.lanes, key=lambda lane: lane.name)
    assert (one.end, other.start) == (100 - page.MARGIN, page.MARGIN)
    assert one.start < one.bars[0].start < one.end
    assert other.end == other.bars[0].start + other.bars[0].width
    # One moment is a place in a log that goes on.
    assert page.picture(rows_of(found[0]), []).by_time is False
    assert page.picture(rows_of(found[0]), logs).by_time is True


def test_without_a_year_the_picture_goes_over_new_year():
    found = finding(start="--01-01T00:00:10", end="--01-01T00:00:20")
    drawn = page.picture(rows_of(found), [log_summary(start="--12-31T23:59:00", end="--01-01T00:01:00")])
    assert drawn.caption == "12-31 23:59:00 to 01-01 00:01:00"
    assert drawn.lanes[0].bars[0].start == pytest.approx(50 + 97 / 12, abs=0.1)
    assert [text for _, text in drawn.ticks] == ["23:59:00", "23:59:30", "00:00:00", "00:00:30", "00:01:00"]


def test_without_times_the_picture_goes_by_line():
    ends = (finding(start=None, end=None, first_line=1, last_line=1), finding(first_line=91, last_line=101))
    for found in (ends, [replace(of, start="2026-03-12T06:00:00", end=None) for of in ends]):
        drawn = page.picture(rows_of(*found), [log_summary(lines=101)])
        assert not drawn.by_time
        (lane,) = drawn.lanes
        assert [(bar.start, bar.start + bar.width) for bar in lane.bars] == [
            (page.MARGIN, page.MARGIN),
            pytest.approx((page.MARGIN + 0.9 * (100 - 2 * page.MARGIN), 100 - page.MARGIN), abs=0.01),
        ]
        assert [text for _, text in drawn.ticks] == ["line 1", "50", "100"]


def test_many_logs_and_many_findings_are_still_a_picture():
    found = [
        finding(source=f"{row % 40}.log", first_line=row + 1, last_line=row + 1, start=None) for row in range(4000)
    ]
    drawn = page.picture(rows_of(*found), [log_summary(f"{row}.log", lines=4000) for row in range(40)])
    assert len(drawn.lanes) == page.LANES
    assert drawn.lanes[-1].name == "29 other logs"
    assert (
        sum(lane.found for lane in drawn.lanes) == sum(bar.number for lane in drawn.lanes for bar in lane.bars) == 4000
    )
    assert max(len(lane.bars) for lane in drawn.lanes) <= page.BARS


def test_only_the_strongest_have_their_numbers_in_the_picture():
    found = [finding(first_line=line, last_line=line, start=None, strength=line) for line in range(1, 201)]
    (lane,) = page.picture(rows_of(*found), [log_summary(lines=200)]).lanes
    numbered = [bar for bar in lane.bars if bar.is_numbered]
    assert 1 < len(numbered) <= page.NUMBERED
    assert min(bar.row.finding.strength for bar in numbered) > 200 - page.NUMBERED
    assert all(two.start - one.start >= page.NUMBERS_APART for one, two in pairwise(numbered))


@pytest.mark.parametrize("start", ["--02-29T23:59:59", "0001-01-01T00:00:00", "9999-12-31T23:59:59Z", "nonsense", ""])
def test_strange_times(start):
    Tree(html(findings_of(finding(start=start, end=start), finding(start=start, end="--03-01T00:00:01"))))


# ---------------------------------------------------------------------- marks


def test_a_mark_is_what_the_finding_is_about():
    masked = '<IP> "GET" </script> \x1b[2J \u202e \ud800'
    of = finding(entries=(entry(masked=masked), entry(masked="x" * 10_000_000)))
    assert json.loads(mark(of)) == {"id": of.id, "masked": [masked]}
    assert mark(of).isascii()
    assert mark(of).isprintable()
    assert mark(of) in Tree(html(findings_of(of))).all("data-mark")


# ---------------------------------------------------------------------- whatever a log holds


def broken(text=BREAKING):
    return findings_of(
        finding(
            text,
            source=f"{text}.log",
            sessions=1,
            session_names=(text,),
            reasons=(Reason("new_entry", text, 1.0), Reason("known_anomaly", f"`{text}`", 0.5)),
            entries=(entry(text, masked=text), entry(f"a\n{text}\n\t{text}")),
        ),
        finding(source="b.log"),
        logs=(log_summary(f"{text}.log", familiarity=0.1, truncated_entries=1), log_summary("b.log")),
        skipped=(Skipped(text, text),),
        baseline=text,
    )


def test_no_markup_of_a_log_is_markup():
    harmless = Tree(html(broken(HARMLESS)))
    tree = Tree(html(broken()))
    assert tree.tags == harmless.tags
    assert [(tag, name) for tag, name, _ in tree.attributes] == [(tag, name) for tag, name, _ in harmless.attributes]
    assert "<img src=x onerror=" in tree.text
    assert "{{ 7*7 }}" in tree.text


def test_nothing_controls_or_deceives():
    text = html(broken())
    text.encode("utf-8")
    bad = {char for char in text if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert bad <= {"\n"}
    assert "\\u202e" in text


def test_the_policy_lets_nothing_run_but_the_pages_own():
    text = html(ORDINARY)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    digests = {}
    for tag in ("style", "script"):
        (code,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digests[tag] = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digests['style']}'; script-src 'sha256-{digests['script']}'; "
        "base-uri 'none'; form-action 'none'"
    )


def test_a_line_of_ten_megabytes_stays_small():
    long = "<b>" * 3_500_000
    text = html(findings_of(finding(long, entries=(entry(long), entry(f"a\n{long}")))))
    assert len(text) < 200_000
    assert "(10,496,000 more characters)" in text


# ---------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser():
    if not FOUND:
        pytest.skip(f"no Chromium: none of {', '.join(NAMES)} is installed")
    with Chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser, tmp_path):
    def opened(findings):
        path = tmp_path / "report.html"
        path.write_text(html(findings), encoding="utf-8")
        browser.complaints.clear()
        browser.requests.clear()
        browser.open(path)
        return browser

    yield opened
    assert browser.complaints == []
    assert {address.split("#")[0] for address in browser.requests} <= {(tmp_path / "report.html").as_uri()}


def many():
    return findings_of(
        finding("disk full", id="a" * 12, strength=3.0, start="2026-03-12T07:00:00", end=None),
        finding("link down", id="b" * 12, strength=2.0, source="b.log"),
        finding(id="c" * 12, strength=1.0, reasons=(Reason("unusual_count", "9 in 32 entries", 1.0),)),
        logs=(log_summary(), log_summary("b.log")),
    )


@pytest.fixture
def hundred(monkeypatch):
    """Findings, more than a page opens with, and than it reads at once; the last one is hostile."""
    monkeypatch.setattr(page, "FIRST", 30)
    monkeypatch.setattr(page, "PART", 40)
    number = 99
    last = replace(broken()[0], id="f" * 12, strength=-1.0)
    return findings_of(
        *(finding(f"job {row}", id=f"{row:012x}", strength=number - row) for row in range(number)), last
    )


SHOWN = "items.filter(item => !item.hidden).map(item => item.dataset.number).join()"


def test_in_a_browser_nothing_of_a_log_runs(opened):
    browser = opened(broken())
    assert browser.evaluate("document.title") == "2 findings in 2 logs · LogMoE"
    assert browser.evaluate("document.querySelectorAll('img, svg[onload], [onerror], body style').length") == 0
    assert browser.evaluate("document.querySelectorAll('script').length") == 1
    # The same elements as of a harmless log, by the browser's own parser.
    names = "[...document.querySelectorAll('*')].map(one => one.localName).join()"
    hostile = browser.evaluate(names)
    assert opened(broken(HARMLESS)).evaluate(names) == hostile


def test_in_a_browser_the_policy_holds(opened):
    browser = opened(ORDINARY)
    browser.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.owned = 1'}))"
    )
    browser.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=https://evil.example/x onerror=alert(1)>')"
    )
    browser.settle()
    assert browser.evaluate("window.owned ?? null") is None
    # What it refuses is said, and is not asked for.
    assert len([said for said in browser.complaints if "Content Security Policy" in said]) >= 3
    browser.complaints.clear()
    browser.requests.clear()


def test_in_a_browser_filters_and_order(opened):
    browser = opened(many())
    assert browser.evaluate(SHOWN) == "1,2,3"
    for act, shown, said in (
        ("tools.elements.words.value = 'LINK down'", "2", "1 of 3 shown"),
        ("tools.elements.words.value = 'nowhere'", "", "0 of 3 shown"),
        ("tools.elements.words.value = ''; tools.elements.log.value = '0'", "1,3", "2 of 3 shown"),
        ("tools.querySelector('[value=unusual_count]').checked = true", "3", "1 of 3 shown"),
    ):
        browser.evaluate(f"{act}; show()")
        assert (browser.evaluate(SHOWN), browser.evaluate("find('shown').value")) == (shown, said)
    browser.evaluate("find('none').querySelector('button').click()")
    browser.settle()
    assert browser.evaluate(SHOWN) == "1,2,3"
    browser.evaluate("tools.querySelector('[value=time]').click()")
    assert browser.evaluate("[...list.children].map(item => item.dataset.number).join()") == "2,3,1"


def test_in_a_browser_links_lead_to_findings_also_to_hidden_ones(opened):
    browser = opened(many())
    browser.evaluate("tools.elements.words.value = 'link down'; show()")
    link = f"document.querySelector('svg a[href=\"#{'c' * 12}\"]')"
    browser.evaluate(f"{link}.dispatchEvent(new MouseEvent('click', {{bubbles: true}}))")
    browser.settle()
    assert browser.evaluate("items[2].hidden") is False
    assert browser.evaluate("items[2].querySelector('details').open") is True


def test_in_a_browser_many_findings_are_read_in_parts_and_all_are_found(opened, hundred):
    for act in (
        "new Promise(done => { const wait = () => unread.length ? setTimeout(wait, 20) : done(); wait(); })",
        "show()",
        "order()",
        "readAll()",
        "location.hash = 'f'.repeat(12), follow()",
    ):
        browser = opened(hundred)
        browser.evaluate(act)
        assert browser.evaluate("[...list.children].map(item => Number(item.dataset.number))") == list(
            range(1, len(hundred) + 1)
        )
        assert browser.evaluate("document.querySelectorAll('noscript').length") == 0
        assert browser.evaluate("find('waiting').checkVisibility()") is False
    assert browser.evaluate("items.at(-1).querySelector('details').open") is True
    browser.evaluate("tools.elements.words.value = '<img src=x onerror='; show()")
    assert browser.evaluate(SHOWN) == str(len(hundred))
    browser.evaluate("isFine(items.at(-1)).click()")
    assert json.loads(browser.evaluate("find('marks').value"))["masked"] == [BREAKING, "<masked>"]
    browser.settle()
    assert browser.evaluate("document.title").startswith(f"{len(hundred)} findings in app.log")
    assert browser.evaluate("document.querySelectorAll('main img, main svg, main style, main script').length") == 0


def test_what_is_read_later_cannot_end_early(hundred):
    text = html(hundred)
    # All that ends raw text is ours; the attribute and the texts of the hostile one say it too.
    assert text.count("<noscript ") == len(re.findall("</noscript", text, re.IGNORECASE)) == 2
    assert "&lt;/noscript&gt;" in text


def test_in_a_browser_that_may_not_run_the_script_it_says_what_is_missing(browser, tmp_path, hundred):
    path = tmp_path / "report.html"
    path.write_text(html(hundred).replace("script-src 'sha256-", "script-src 'sha256-no"), encoding="utf-8")
    browser.open(path)
    assert browser.evaluate("document.getElementById('waiting').checkVisibility()") is True
    assert browser.evaluate("document.getElementById('waiting').textContent").startswith("Findings 31 to 100 appear")


def test_in_a_browser_marks_are_collected(opened):
    browser = opened(many())
    assert browser.evaluate("marked.hidden") is True
    for item in (0, 2):
        browser.evaluate(f"items[{item}].querySelector('.fine input').click()")
    lines = [json.loads(line) for line in browser.evaluate("find('marks').value").splitlines()]
    assert lines == [{"id": letter * 12, "masked": ["<masked>", "<masked>"]} for letter in "ac"]
    assert browser.evaluate("find('marked-count').textContent") == "2 findings marked as fine"
    browser.evaluate("find('unmark').click()")
    assert browser.evaluate("marked.hidden") is True


def test_in_a_browser_the_keyboard_is_enough(opened):
    """From the top by Tab alone: a link to the findings, the picture, the filters, a finding, which Enter opens."""
    browser = opened(many())
    reached = []
    for _ in range(40):
        browser.key("Tab")
        reached.append(browser.evaluate("(({localName, name}) => name || localName)(document.activeElement)"))
        if browser.evaluate("document.activeElement.closest('li')?.dataset.number") == "2":
            break
    assert reached[:2] == ["a", "a"]
    assert reached[-1] == "summary"
    assert {"words", "log", "order", "kind"} <= set(reached)
    browser.key("Enter")
    assert browser.evaluate("items[1].querySelector('details').open") is True


def test_in_a_browser_it_works_without_scripts(browser, tmp_path, hundred):
    path = tmp_path / "report.html"
    path.write_text(html(hundred), encoding="utf-8")
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(f"{path.as_uri()}#{'f' * 12}")
        seen = "[...document.querySelectorAll('.tools, .fine')].filter(one => one.checkVisibility()).length"
        assert browser.evaluate(seen) == 0
        assert browser.evaluate("document.querySelectorAll('.list > li').length") == len(hundred)
        # A link opens what it leads to by itself.
        assert browser.evaluate("[...document.querySelectorAll('.list > li')].at(-1).firstChild.open") is True
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize("width", [400, 800, 1600])
def test_in_a_browser_nothing_sticks_out(opened, browser, width):
    browser.resize(width, 900)
    opened(broken("word" * 300))
    browser.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    browser.settle()
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    browser.resize(1200, 900)


# ---------------------------------------------------------------------- without its library


def test_without_its_library_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r"pip install 'logmoe\[report\]'"):
        reporting.render(ORDINARY, "html")
