"""What is made of the figures of two sides; neither side runs here."""

from benchmarks.random_checkpoint import SHAPES, random_tensors
from benchmarks.vs_llama_cpp import figures, forget, peer_token_bytes, remember, run, table
from ossia.checkpoint import open_checkpoint, write_checkpoint


def found(prefill, decode, start, memory):
    return {
        "prefill": [{"tokens": 512, "tokens_per_second": prefill}],
        "decode": [{"tokens": 64, "batch": 1, "depth": 64, "tokens_per_second": decode}],
        "time_to_first_token": start,
        "peak_rss_bytes": memory,
        "bytes_per_token": 2_000_000_000,
        "dram_read_bytes_per_second": [20e9, 30e9],
    }


def pair(ours, theirs, workload="one"):
    return {"workload": workload, "pair": 0, "ossia": ours, "llama.cpp": theirs}


def test_ratios_above_one_are_better_whatever_is_measured():
    shown = table([pair(found(60.0, 12.0, 2.0, 12e9), found(15.0, 10.0, 50.0, 24e9))])
    assert "| prefill 512, tokens/s | 60.00 | 15.00 | 4.00, **4.00**, 4.00 |" in shown
    assert "| decode 1 x 64 after 64, tokens/s | 12.00 | 10.00 | 1.20, **1.20**, 1.20 |" in shown
    assert "| start to first token, s | 2.00 | 50.00 | 25.00, **25.00**, 25.00 |" in shown
    assert "| peak resident memory, GB | 12.00 | 24.00 | 2.00, **2.00**, 2.00 |" in shown


def test_one_stream_is_set_against_the_memory_read_before_and_after():
    numbers = figures(found(60.0, 10.0, 2.0, 12e9), "one")
    assert numbers["that of the speed of DRAM, %"] == 80
    assert numbers["DRAM read beside it, GB/s"] == 25


def test_the_spread_is_of_the_pairs_not_of_the_sides():
    """A machine that slows down slows both sides; the pair's ratio stays."""
    fast = pair(found(60.0, 12.0, 2.0, 12e9), found(20.0, 10.0, 50.0, 24e9))
    slow = pair(found(30.0, 6.0, 4.0, 12e9), found(10.0, 5.0, 100.0, 24e9))
    assert "| 45.00 | 15.00 | 3.00, **3.00**, 3.00 |" in table([fast, slow])


def test_a_side_that_failed_has_no_ratio():
    shown = table([pair(found(60.0, 12.0, 2.0, 12e9), {"failed": "exit -9: "})])
    assert "| prefill 512, tokens/s | 60.00 | - | - |" in shown


def test_start_and_memory_count_only_where_one_stream_is_measured():
    numbers = figures(found(60.0, 12.0, 2.0, 12e9), "deep")
    assert list(numbers) == ["decode 1 x 64 after 64, tokens/s"]


def test_a_process_that_fails_is_a_result():
    assert run(["sh", "-c", "echo no memory >&2; exit 3"]) == {"failed": "exit 3: no memory"}


def test_files_can_be_read_ahead_and_forgotten(tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(bytes(100_000))
    remember(path)
    forget([path])
    assert path.read_bytes() == bytes(100_000)


def test_bytes_a_token_are_those_of_q8_four_experts_and_the_head(tmp_path):
    config = SHAPES["tiny"]
    write_checkpoint(tmp_path / "m", config, random_tensors(config, 0), "hugging-face")
    D, F, C = config.hidden_size, config.intermediate_size, config.head_dim
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    rows = (heads + 2 * kv_heads) * C
    rounded = (rows * D + D * heads * C) * 34 // 32
    experts = 4 * (3 * D * F * 17 // 32 + 4 * (2 * F + D))
    exact = 4 * (rows + D + heads + 2 * D + config.num_local_experts * (D + 1))
    layers = config.num_hidden_layers * (rounded + experts + exact)
    expected = layers + config.vocab_size * D * 34 // 32 + 4 * D
    assert peer_token_bytes(open_checkpoint(tmp_path / "m")) == expected
