"""What the engine does with pages between steps: going on from copies, and going back a little."""

import numpy as np
import pytest

from ossia.ops.api import pages_per_window

TOKENS, PAGE = 150, 8
FULL = 1 << 20


class Text:
    """One sequence that may leave its pages, or go back on them."""

    def __init__(self, ops, attention, metadata_of, num_pages):
        self.ops, self.attention, self.metadata_of = ops, attention, metadata_of
        self.sinks = ops.prepare_sinks(attention.sink_H, attention.key_TKC.shape[1])
        self.pages = ops.new_pages(num_pages, PAGE, *attention.key_TKC.shape[1:])

    def run(self, first, last, row, *, noise=False):
        """Tokens first to last on the pages of `row`; noise: other tokens in their places."""
        step = self.metadata_of([last - first], self.attention.window, [first], [row])
        mine = [
            each[first:last] + (np.float32(3) if noise else 0)
            for each in self.attention.activations
        ]
        arrays = [self.ops.from_numpy(each.copy()) for each in mine]
        return self.ops.to_numpy(self.ops.attend(*arrays, step, self.pages, self.sinks))


@pytest.fixture(params=[0, 1], ids=["backend", "judge"])
def ops(both, request):
    return both[request.param]


@pytest.mark.parametrize("window", [1, 7, 33, FULL])
@pytest.mark.parametrize("cut", [1, 8, 60, 100])
@pytest.mark.parametrize("back", [0, 1])
def test_a_copy_goes_on_where_it_was_made_or_one_token_before(
    ops, make, metadata_of, assert_near, window, cut, back
):
    attention = make.attention(TOKENS, (2, 2, 16), window)
    law = attention.alone(ops, [TOKENS])
    need = min(pages_per_window(window, PAGE), -(-TOKENS // PAGE))
    text = Text(ops, attention, metadata_of, 2 * need)
    mine, copy = list(range(need)), list(range(2 * need - 1, need - 1, -1))
    text.run(0, cut, mine)
    ops.copy_pages(text.pages, mine, copy)
    text.run(cut, TOKENS, mine, noise=True)
    assert_near(text.run(cut - back, TOKENS, copy), law[cut - back :])


@pytest.mark.parametrize("window", [1, 7, 33, FULL])
@pytest.mark.parametrize("cut", [5, 60, 100])
def test_tokens_up_to_what_a_window_has_to_spare_can_be_taken_back(
    ops, make, metadata_of, assert_near, window, cut
):
    attention = make.attention(TOKENS, (2, 2, 16), window)
    law = attention.alone(ops, [TOKENS])
    need = min(pages_per_window(window, PAGE), -(-TOKENS // PAGE))
    spare = need * PAGE - window if window < FULL else TOKENS
    text = Text(ops, attention, metadata_of, need)
    text.run(0, cut, range(need))
    assert_near(text.run(cut, cut + 1, range(need)), law[cut : cut + 1])
    text.run(cut + 1, min(cut + 1 + spare, TOKENS), range(need), noise=True)
    assert_near(text.run(cut + 1, TOKENS, range(need)), law[cut + 1 :])
