from ossia.chat.events import Usage
from ossia.engine.engine import EngineLoad
from ossia.providers.metrics import Metrics


def test_everything_counted_is_told():
    metrics = Metrics()
    metrics.answered("/v1/responses", 200, 0.5)
    metrics.first_piece(0.1)
    metrics.next_piece(0.01)
    metrics.finished(Usage(10, 5, 3, 8))
    metrics.forced_final("loop")
    metrics.remembered(2)
    metrics.tool_called("function", "called")
    metrics.engine_restarted()
    metrics.load(EngineLoad(steps=5, running=2, waiting=1, cache_usage=0.25, preempted=3))
    lines = metrics.text().decode().splitlines()
    for line in (
        'ossia_requests_total{endpoint="/v1/responses",status="200"} 1.0',
        "ossia_time_to_first_token_seconds_count 1.0",
        "ossia_inter_token_latency_seconds_count 1.0",
        "ossia_prompt_tokens_total 10.0",
        "ossia_generation_tokens_total 5.0",
        "ossia_reasoning_tokens_total 3.0",
        "ossia_prefix_cache_hits_total 8.0",
        "ossia_prefix_cache_queries_total 10.0",
        'ossia_forced_final_total{reason="loop"} 1.0',
        "ossia_token_memory_hits_total 2.0",
        'ossia_tool_calls_total{outcome="called",tool="function"} 1.0',
        "ossia_engine_restarts_total 1.0",
        "ossia_num_requests_running 2.0",
        "ossia_num_requests_waiting 1.0",
        "ossia_kv_cache_usage_ratio 0.25",
        "ossia_preemptions_total 3.0",
        "ossia_output_grammar_errors_total 0.0",
    ):
        assert line in lines


def test_two_servers_count_apart():
    one, other = Metrics(), Metrics()
    one.remembered(1)
    assert "ossia_token_memory_hits_total 0.0" in other.text().decode()
