"""The page of a verification, opened in Chromium and read like a person does."""

import base64
import re
from dataclasses import replace

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from mailwright.verify.page import render
from tests.page import pageworld as world


@pytest.fixture
def page(tmp_path):
    """Write a report's page; gives its file."""

    def written(report):
        file = tmp_path / "report.html"
        file.write_text(render(report, world.fleet(tmp_path)))
        return file

    return written


@pytest.fixture
def opened(reader, page):
    reader.open(page(world.some_of_each()))
    return reader


def machines(reader):
    return reader.texts("details.machine > summary .name")


def rows(reader):
    return reader.texts("tbody th")


def checks(reader):
    return len(reader.all("[data-outcome]"))


def test_the_title_says_which_fleet_how_it_is_and_when_that_was(opened):
    assert opened.browser.title == "prod: failed, 2026-11-22 16:03 UTC"


def test_the_verdict_is_read_first(opened):
    sentence = "out1 is not what the fleet file says (2 of 34 checks failed); lb2 could not be judged."
    assert opened.the("#verdict").text == sentence
    assert opened.sees.index(sentence) < opened.sees.index("Machines")


def test_nothing_is_fetched_and_the_console_is_silent(reader, page):
    file = page(world.some_of_each())
    reader.open(file)
    reader.the("[name=text]").send_keys("out1")
    assert reader.requests() == [file.as_uri()]
    assert reader.complaints() == []


def test_a_foreign_script_that_got_in_would_not_run(reader, page):
    file = page(world.some_of_each())
    stolen = file.read_text().replace("</footer>", "</footer><script>document.title = 'taken'</script>")
    file.write_text(stolen)
    reader.open(file)
    assert reader.browser.title.startswith("prod: failed")
    assert any("Content Security Policy" in complaint for complaint in reader.complaints())
    assert reader.all("#filter")  # ours does


def test_what_a_hostile_machine_printed_is_read_as_it_was_printed(opened):
    assert world.HOSTILE in opened.texts(".problem dd.found")
    assert opened.browser.title.startswith("prod: failed")


def test_machines_are_listed_with_failures_first(opened):
    assert rows(opened) == ["out1", "lb2", "all together", "out2", "mx1", "lb1"]
    assert opened.texts("tbody td.word") == ["failed", "unknown", "unknown", "ok", "ok", "ok"]


def test_a_failure_is_folded_and_unfolded_and_says_what_to_do(opened):
    problem = opened.all("#machine-out1 .problem")[0]
    problem.find_element("css selector", "summary").click()
    assert "mode 0644" not in problem.text
    assert problem.text.splitlines() == ["file-/etc/postfix/main.cf", "postfix", "mode 0666"]
    problem.find_element("css selector", "summary").click()
    words = "expected\nmode 0644\nfound\nmode 0666\ndeclared\ninventory/prod.yaml:8\nremedy\nmailwright apply"
    assert words in problem.text


def test_what_is_well_is_folded_away_and_there_for_who_asks(opened):
    assert "unit-postfix.service" not in opened.sees
    opened.the("#machine-out1 .group:last-child > summary").click()
    assert opened.texts("#machine-out1 li.pass") == [
        "package-postfix",
        "unit-postfix.service",
        "file-/etc/postfix.conf",
    ]


def test_the_name_of_a_machine_filters_to_that_machine(opened):
    opened.the("[name=text]").send_keys("out1")
    assert rows(opened) == machines(opened) == ["out1"]
    assert opened.the("#shown").text == "8 of 34 checks"
    assert checks(opened) == 8  # all unfolded


def test_the_name_of_a_balancer_shows_what_concerns_it_together_with_others(opened):
    opened.the("[name=text]").send_keys("lb1")
    assert machines(opened) == ["all together", "lb1"]


def test_words_filter_by_anything_that_is_written_there(opened):
    opened.the("[name=text]").send_keys("MODE main.cf")
    assert opened.texts(".problem .name") == ["file-/etc/postfix/main.cf"]
    assert checks(opened) == 1


def test_an_outcome_filters(opened):
    Select(opened.the("[name=outcome]")).select_by_visible_text("failed")
    assert machines(opened) == ["out1"]
    assert opened.texts(".problem .name") == ["file-/etc/postfix/main.cf", "check-postfix-greets"]
    Select(opened.the("[name=outcome]")).select_by_visible_text("skipped")
    assert machines(opened) == ["lb2"]
    assert checks(opened) == 5


def test_a_role_filters_together_with_an_outcome(opened):
    Select(opened.the("[name=role]")).select_by_visible_text("base")
    Select(opened.the("[name=outcome]")).select_by_visible_text("unknown")
    assert opened.texts(".problem dd.found") == ["lb2: no route to host"]


def test_what_is_not_there_is_said_not_to_be(opened):
    opened.the("[name=text]").send_keys("nowhere")
    assert opened.the("#nothing").text == "No check is like that."
    assert machines(opened) == []


def test_show_all_brings_everything_back_as_it_was(opened):
    before = opened.sees
    opened.the("[name=text]").send_keys("out2", Keys.ENTER)
    assert machines(opened) == ["out2"]
    opened.the("#all").click()
    assert opened.sees == before


def test_a_click_on_a_machine_in_the_drawing_unfolds_its_checks(opened):
    opened.the("a[href='#machine-mx1'] .node").click()
    opened.waits_for("#machine-mx1 .group")
    opened.the("[name=text]").send_keys("out1")
    opened.the("a[href='#machine-lb1'] .node").click()  # of what the filter hides, too
    opened.waits_for("#machine-lb1 .group")


def test_the_drawing_says_without_colours_how_each_machine_is(opened):
    said = {node.text.splitlines()[0]: node.text.splitlines()[1] for node in opened.all(".fleet .node")}
    assert said == {
        "lb1": "7 ok",
        "lb2": "1 unknown",
        "out1": "2 failed",
        "out2": "6 ok",
        "mx1": "6 ok",
        "util1": "not asked",
    }


def test_no_text_of_the_drawing_leaves_its_box(opened):
    script = """
    return [...document.querySelectorAll(".node, .door")].flatMap((part) => {
      const box = part.querySelector("rect").getBoundingClientRect();
      return [...part.querySelectorAll("text")].filter((text) => {
        const own = text.getBoundingClientRect();
        return own.left < box.left || own.right > box.right || own.top < box.top || own.bottom > box.bottom;
      }).map((text) => text.textContent);
    })"""
    assert opened.browser.execute_script(script) == []


def test_without_scripts_everything_is_there_but_the_filter(reader, page):
    file = page(world.some_of_each())
    reader.command("Emulation.setScriptExecutionDisabled", value=True)
    reader.open(file)
    assert reader.all("#filter") == []
    assert "mode 0666" in reader.sees
    reader.the("#machine-out2 > summary").click()
    reader.the("#machine-out2 .group:last-child > summary").click()
    assert "unit-postfix.service" in reader.sees


def luminance(colour):
    red, green, blue = (
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (int(number) / 255 for number in re.findall(r"\d+", colour)[:3])
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it_by_day_and_by_night(reader, page, scheme):
    """WCAG 2.2, 1.4.3: 4.5 to 1."""
    reader.command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    reader.open(page(world.some_of_each()))
    pairs = reader.browser.execute_script("""
    const behind = (element) => {
      const own = getComputedStyle(element).backgroundColor;
      return own === "rgba(0, 0, 0, 0)" && element.parentElement ? behind(element.parentElement) : own;
    };
    return [...document.querySelectorAll("body *:not(svg, svg *)")]
      .filter((element) => element.checkVisibility() && element.innerText)
      .map((element) => [element.innerText, getComputedStyle(element).color, behind(element)]);""")
    assert len(pairs) > 100
    for text, *colours in pairs:
        dark, light = sorted(map(luminance, colours))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, colours)
    night = luminance(pairs[0][2]) < 0.1
    assert night is (scheme == "dark")


def test_a_narrow_screen_scrolls_no_page_sideways(opened):
    opened.command(
        "Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=False
    )
    try:
        assert opened.browser.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        opened.command("Emulation.clearDeviceMetricsOverride")


def test_paper_has_what_is_wrong_unfolded_and_no_filter(reader, page):
    many = [replace(world.MODE, id=f"{i}", name=f"{i}", found=f"mode {i:04}") for i in range(20)]
    reader.command("Emulation.setScriptExecutionDisabled", value=True)
    reader.open(page(world.report({"out1": many})))
    assert world.MODE.remedy not in reader.sees  # folded, being many
    reader.command("Emulation.setEmulatedMedia", media="print")
    shown = reader.browser.execute_script(
        "return [...document.querySelectorAll('.remedy')].map((remedy) => remedy.checkVisibility())"
    )
    assert shown == [True] * 20
    assert base64.b64decode(reader.command("Page.printToPDF")["data"]).startswith(b"%PDF")


def test_no_column_is_cut_off_on_paper(reader, page):
    reader.command("Emulation.setEmulatedMedia", media="print")
    wide = {f"out{i}": world.well(f"out{i}", "base", "firewall", "certificates", "postfix") for i in range(9)}
    reader.command(
        "Emulation.setDeviceMetricsOverride", width=680, height=960, deviceScaleFactor=1, mobile=False
    )  # A4 within its margins
    try:
        reader.open(page(world.report(wide)))
        assert reader.browser.execute_script("return document.documentElement.scrollWidth") <= 680
    finally:
        reader.command("Emulation.clearDeviceMetricsOverride")
