"""openai-agents against a server of ours: strict about every response, without retries."""

import asyncio
from collections.abc import Callable
from typing import Any

from agents import Agent, RunConfig, Runner
from openai import AsyncOpenAI


def run_agent(
    address: str,
    make_agent: Callable[[AsyncOpenAI], Agent],
    prompt: str,
    *,
    streamed: bool,
    **options: Any,
) -> Any:
    """The result of one run; `options` are the runner's."""

    async def run() -> Any:
        async with AsyncOpenAI(
            api_key="none",
            base_url=f"{address}/v1",
            max_retries=0,
            _strict_response_validation=True,
        ) as client:
            agent = make_agent(client)
            config = RunConfig(tracing_disabled=True)
            if not streamed:
                return await Runner.run(agent, prompt, run_config=config, **options)
            result = Runner.run_streamed(agent, prompt, run_config=config, **options)
            async for _ in result.stream_events():
                pass
            return result

    return asyncio.run(run())
