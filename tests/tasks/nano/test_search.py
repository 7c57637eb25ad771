import json
import re

import numpy as np

from ossia.tasks.nano import draw
from ossia.tasks.nano.pages import HELD_OUT, draw_page, line_of, open_view, search_view
from ossia.tasks.task import TaskSettings
from tests.tasks.nano.reading import answer, calls, question

CITED = re.compile(r"The (.+) of (.+) is (.+)\. 【(\d+)†L(\d+)】")
VIEW = re.compile(r"\[(\d+)\] .+\n\*\*viewing lines \[0 - (\d+)\] of (\d+)\*\*\n\n")


def many(settings=None, count=300, seed=0):
    random = np.random.default_rng(seed)
    settings = settings or TaskSettings(effort="medium")
    return [draw(random, settings, "search") for _ in range(count)]


def lines(view):
    return dict(re.findall(r"^L(\d+): (.*)$", view, re.MULTILINE))


def test_every_citation_names_a_view_and_the_line_that_says_it():
    cited = 0
    for conversation in many():
        views = {VIEW.search(r.text)[1]: lines(r.text) for _, r in calls(conversation)}
        for message in conversation.messages:
            if message.channel == "final" and (found := CITED.fullmatch(message.text)):
                relation, _, value, cursor, line = found.groups()
                # a summary is wrapped anywhere: the line is that on which the value begins
                assert value.split()[0] in views[cursor][line]
                assert relation in "".join(views[cursor].values()).lower()
                cited += 1
    assert cited > 200


def test_links_that_are_opened_bear_the_name_that_was_asked_for():
    for conversation in many():
        made = calls(conversation)
        for (search, results), (opened, page) in zip(made, made[1:], strict=False):
            if opened.recipient == "browser.open" and search.recipient == "browser.search":
                number = json.loads(opened.content)["id"]
                name = re.search(rf"【{number}†(.+?)†", results.text.replace("\n", " "))[1]
                assert f"] {name} (" in re.sub(r"\s+", " ", page.text)
                entity = name.removesuffix(".md").lower()
                assert entity in json.loads(search.content)["query"].lower()


def test_the_links_are_thought_of_as_they_are_shown_before_one_is_chosen():
    chosen = 0
    for conversation in many():
        view = ""
        for message in conversation.messages:
            if message.role == "tool" and message.name == "browser.search":
                view = re.sub(r"\s+", " ", re.sub(r"\nL\d+: ", "", message.text))
            elif message.channel == "analysis" and message.text.startswith("Links: "):
                listed, _, rest = message.text.removeprefix("Links: ").partition(". ")
                links = dict(each.split("=") for each in listed.split(", "))
                assert len(links) == view.count("【")
                for name, number in links.items():
                    assert name in view[view.index(f"【{number}†") :].split("【")[1]
                if found := re.match(r"(.+)=(\d)", rest):
                    assert links[found[1]] == found[2]
                    chosen += 1
                else:
                    assert rest.removeprefix("No ").rstrip(".") not in links
            elif message.recipient == "browser.open":
                assert json.loads(message.text)["id"] == int(found[2])
    assert chosen > 200


def test_what_is_not_found_is_not_answered():
    for conversation in many():
        last = calls(conversation)[-1][1].text
        if answer(conversation).startswith("I found nothing about "):
            assert answer(conversation)[22:-1] not in last.split("**", 2)[2]


def test_a_view_is_displayed_as_the_browser_displays_it():
    page = draw_page(np.random.default_rng(0), "facts")
    view, places = open_view(page, 3)
    cursor, shown, last = VIEW.match(view).groups()
    assert (cursor, shown, last) == ("3", str(len(lines(view)) - 1), shown)
    assert lines(view)["0"] == f"URL: {page.url}"
    assert all(fact.value in lines(view)[str(places[fact.relation])] for fact in page.facts)
    assert f"{page.title} (" in view
    listed, at = search_view("a b", [(page, "All about it.")], 0, with_url=False)
    assert listed.startswith("[0] a b\n**viewing lines [0 - 2] of 2**\n\nL0: # Search Results\n")
    assert lines(listed)[str(at[0])] == f"  * 【0†{page.title}†facts】 All about it."


def test_no_results_are_said_so():
    view, places = search_view("a", [], 0, with_url=True)
    assert view.endswith("L0: URL: \nL1: \nL2: # Search Results\nL3: \nL4: No results found.")
    assert places == []


def test_relations_kept_out_are_never_asked_in_training():
    held_out = many(TaskSettings(effort="low", split="test", column="held-out"), 30)
    assert all(any(each in question(c) for each in HELD_OUT) for c in held_out)
    assert not [c for c in many() if re.search(rf"\b({'|'.join(HELD_OUT)})\b", question(c))]


def test_a_page_without_a_heading_bears_the_name_of_its_file():
    random = np.random.default_rng(0)
    titles = {}
    while len(titles) < 2:
        page = draw_page(random, "a")
        titles[page.lines[0].startswith("# ")] = page
    assert titles[True].title == titles[True].entity
    assert titles[False].title == f"{titles[False].entity.lower()}.md"


def test_the_line_of_a_result_is_where_the_value_begins():
    random = np.random.default_rng(0)
    found = 0
    for _ in range(50):
        page, other = draw_page(random, "a"), draw_page(random, "a")
        hits = [(other, other.summary), (page, page.summary)]
        view, places = search_view("a", hits, 0, with_url=True)
        for fact in page.facts:
            line = line_of(view, places[1], fact)
            assert line is not None
            assert fact.value.split()[0] in lines(view)[str(line)]
            found += 1
    assert found > 100
    view, places = search_view("a", [(page, "Nothing."), (page, page.summary)], 0, with_url=False)
    assert line_of(view, places[0], page.facts[0]) is None
