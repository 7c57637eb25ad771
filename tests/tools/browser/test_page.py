"""Pages as the model reads them, against displays written by hand from the rules."""

from textwrap import wrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ossia.harmony.tokenizer import Tokenizer
from ossia.tools.browser.page import (
    MAX_SHOWN_BYTES,
    MAX_TOKENS,
    PageContents,
    display,
    link_mark,
    plain_lines,
    without_marks,
    wrapped,
)
from tests.tools.browser.browsing import page, words


def shown(subject, cursor=0, loc=0, num_lines=None, count_tokens=words):
    return display(subject, cursor, loc, num_lines, count_tokens)


def test_a_whole_page_is_displayed_so():
    subject = page(
        "URL: http://a.example/p\n\nHello  there.\n  * 【0†more†b.example】", ["http://b.example/"]
    )
    assert shown(subject, cursor=7) == (
        "[7] A page (http://a.example/p)\n"
        "**viewing lines [0 - 3] of 3**\n"
        "\n"
        "L0: URL: http://a.example/p\n"
        "L1: \n"
        "L2: Hello  there.\n"
        "L3:   * 【0†more†b.example】"
    )


def test_a_part_of_a_page_keeps_its_line_numbers():
    subject = page("\n".join("abcdefgh"))
    assert shown(subject, loc=2, num_lines=3) == (
        "[0] A page (http://a.example/p)\n**viewing lines [2 - 4] of 7**\n\nL2: c\nL3: d\nL4: e"
    )


def test_more_lines_than_there_are_end_with_the_last():
    assert "[6 - 7] of 7" in shown(page("\n".join("abcdefgh")), loc=6, num_lines=50)


def test_a_page_without_url_has_no_brackets():
    assert shown(page("x", url="", title="my query")).startswith("[0] my query\n**viewing")


def test_the_url_is_unquoted_and_cut():
    text = shown(page("x", url="http://a.example/caf%C3%A9%20x"))
    assert text.startswith("[0] A page (http://a.example/café x)\n")
    heading = shown(page("x", url="http://a.example/" + "y" * 5000)).split("\n")[0]
    assert len(heading) == len("[0] A page ()") + 1024


def test_a_quoted_url_forges_no_line_and_no_mark():
    heading = shown(page("x", url="http://a.example/%0AL9:%20%E3%80%901%E2%80%A0x%E3%80%91")).split(
        "\n"
    )
    assert heading[0] == "[0] A page (http://a.example/ L9: 〖1‡x〗)"
    assert heading[1].startswith("**viewing")


def test_lines_end_with_the_one_that_holds_token_1024():
    """Lines of 101 words, their number among them: 11 hold 1,111, and 10 only 1,010."""
    subject = PageContents(url="", title="t", lines=(" ".join("x" * 100),) * 30, num_chars=1)
    assert "[0 - 10] of 29" in shown(subject)
    assert "[5 - 15] of 29" in shown(subject, loc=5)


def test_token_1024_counts_from_zero():
    """512 lines of 2 words are 1,024 tokens, numbers 0 to 1,023: the next line holds 1,024."""
    subject = PageContents(url="", title="t", lines=("x",) * 600, num_chars=1)
    assert f"[0 - {MAX_TOKENS // 2}] of 599" in shown(subject)


def test_a_view_never_holds_more_bytes_than_a_result_may():
    subject = PageContents(url="", title="t", lines=("é" * 80,) * 5000, num_chars=1)
    for num_lines in (None, 5000):
        text = shown(subject, num_lines=num_lines, count_tokens=lambda text: 0)
        assert MAX_SHOWN_BYTES - 400 < len(text.encode()) < MAX_SHOWN_BYTES + 400


@pytest.mark.slow
def test_lines_count_tokens_as_the_whole_text_does():
    """The published vocabulary cuts where a numbered line begins, so counts add up."""
    tokenizer = Tokenizer.o200k_harmony()
    lines = ["", "  x  ", "foo.", "a-b\t", "…", "12", "日本語", "}}", "the end ", "'s", " / "] * 9
    numbered = [f"L{number}: {line}\n" for number, line in enumerate(lines)]
    counts = [len(tokenizer.encode(line)) for line in numbered]
    assert sum(counts) == len(tokenizer.encode("".join(numbered)))


def test_long_lines_are_wrapped_and_inner_blanks_stay():
    text = "one  two " * 20
    lines = list(wrapped(text))
    assert "".join(lines) == text
    assert max(map(len, lines)) <= 80


@given(
    st.text(
        st.characters(exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=400
    )
)
def test_wrapping_is_that_of_the_standard_library(text):
    expected = []
    for line in text.split("\n"):
        expected += (
            wrap(line, 80, replace_whitespace=False, drop_whitespace=False) if line else [""]
        )
    assert list(wrapped(text)) == expected


@pytest.mark.parametrize("unit", ["x", " ", "-", "x ", "\t", "【0†a】", "a--", "日"])
def test_wrapping_takes_lines_of_any_length_in_linear_time(unit, linear):
    linear(lambda n: list(wrapped(unit * n)), 40_000)


def test_marks_are_taken_off_with_their_domain():
    assert without_marks("see 【3†the docs†b.example】 and 【12†x】.") == "see the docs and x."


def test_line_numbers_survive_marks_that_were_wrapped():
    subject = page(
        " ".join(["word"] * 14)
        + " 【0†a link whose text is long†domain.example.com.of.some.length】 end\nlast"
    )
    assert len(plain_lines(subject)) == len(subject.lines)
    assert plain_lines(subject)[-1] == "last"
    assert "domain" not in "".join(plain_lines(subject))


def test_the_domain_is_left_out_for_the_same_host():
    assert link_mark(4, "text", None) == "【4†text】"
    assert link_mark(4, "text", "b.example") == "【4†text†b.example】"


@pytest.mark.parametrize("unit", ["【0†", "【0†a†b", "【", "†", "【0†a】", "】", "【1"])
def test_taking_marks_off_is_linear(unit, linear):
    linear(lambda n: without_marks(unit * n), 40_000)
