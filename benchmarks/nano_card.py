r"""Writes the model card of nano from what was measured; by hand are only the words.

ossia eval nano -m FOLDER --n 500 --json > table.json
ossia eval agent -m FOLDER --n 200 --effort low --effort medium --effort high --json \
        > agent.json
python -m benchmarks.public_sets -m FOLDER > public.jsonl
python -m benchmarks.nano_card FOLDER --log log.jsonl --table table.json --agent agent.json \
        --public public.jsonl --commit ID > src/ossia/models/nano/README.md
"""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

from ossia.checkpoint import open_checkpoint
from ossia.evals.nano import NUM_TRANSCRIPTS, notes, wilson
from ossia.evals.nano_cells import COLUMNS, DRAWS, EFFORTS
from ossia.train.plot import read_log

Json = dict[str, Any]
FILES = ("model.safetensors", "tokenizer.json", "config.json")
HEAD = """# ossia nano

The model inside the package: what runs when you ask ossia for nothing else. It has the
architecture of gpt-oss on a very small scale, was trained by this project from nothing, and makes
every feature work right after the installation: efforts, visible reasoning, tools, JSON schemas,
search, the order of instructions.

**It is not an OpenAI model.** It is a demonstration that does a few narrow things. The system
message of the chat format (which names ChatGPT) is part of the format, not of the model.
"""
LEARNED = """## What it learned

Only dialogues from the project's own seeded generators (`ossia.tasks.nano`), rendered by its own
harmony renderer; no outside text, no other model's output; licence Apache-2.0, as the project.
English only.

{shares}

- The effort alone decides how it answers: *low* at once, *medium* with the steps, *high* with a
  check or a plan.
- Problems are split by a hash of the problem, whatever its wording or effort: the test problems
  were never trained.
- *reworded*: wordings kept out of training (two of each intent). *held-out*: kinds kept out of
  training, such as a tenth of the functions' names, some relations of pages, some stories of word
  problems.
"""
LIMITS = """## What it cannot do

Anything else. It knows no facts and no language beyond its templates; it answers questions out of
its reach with something that looks like an answer. Wordings and kinds it has not seen cost it
much, as the columns show. Low effort is worse than medium at whatever takes steps: showing that
is its purpose. Its refusals and its order of instructions demonstrate a format; it is no safety
system and was not tested as one.
"""


def main() -> None:
    """Print the card."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nano_card", description=__doc__)
    parser.add_argument("folder", type=Path)
    for name in ("log", "agent", "public"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--table", type=Path, required=True, action="append", help="parts of it")
    parser.add_argument(
        "--commit", required=True, action="append", help="of the trainer; STEP:ID from a step on"
    )
    options = parser.parse_args()
    log = list(read_log(options.log))
    table = joined([json.loads(part.read_text()) for part in options.table])
    agent = json.loads(options.agent.read_text())
    public = [json.loads(line) for line in options.public.read_text().splitlines()]
    parts = [
        HEAD,
        described(options.folder),
        LEARNED.format(shares=shares()),
        evaluated(table),
        with_tools(agent),
        on_public_sets(public),
        LIMITS,
        transcripts(table["transcripts"]),
        provenance(options.folder, log, options.commit),
    ]
    print("\n".join(parts), end="")


def joined(parts: list[Json]) -> Json:
    """One table of several, with as many transcripts of each as make ten."""
    order = (list(DRAWS), COLUMNS, EFFORTS)

    def place(row: Json) -> tuple[int, ...]:
        names = (row["task"], row["column"], row["effort"])
        return tuple(known.index(name) for known, name in zip(order, names, strict=True))

    share = -(-NUM_TRANSCRIPTS // len(parts))
    drawn = [each for part in parts for each in part["transcripts"][:share]]
    return {
        "rows": sorted((row for part in parts for row in part["rows"]), key=place),
        "efforts": {
            name: sum(part["efforts"][name] for part in parts) for name in ("pairs", "rising")
        },
        "transcripts": drawn[:NUM_TRANSCRIPTS],
    }


def described(folder: Path) -> str:
    """Architecture and sizes, counted in the file."""
    checkpoint = open_checkpoint(folder)
    config = checkpoint.config
    total, active = parameters(checkpoint.config)
    size = (folder / "model.safetensors").stat().st_size
    rows = {
        "architecture": "gpt-oss: mixture of experts, grouped queries, attention sinks, window and "
        "full layers in turn, YaRN",
        "parameters": f"{total:,}; a token uses {active:,} (head counted, embedding not)",
        "shape": f"{config.num_hidden_layers} layers, width {config.hidden_size}, "
        f"{config.num_attention_heads} query heads and {config.num_key_value_heads} key/value "
        f"heads of {config.head_dim}, {config.num_local_experts} experts of width "
        f"{config.intermediate_size}, {config.num_experts_per_tok} of them active",
        "vocabulary": f"{config.vocab_size:,} byte-level BPE tokens of its own; each digit is one",
        "positions": f"window {config.sliding_window}; YaRN to {config.max_position_embeddings:,}; "
        "trained on at most about 1,300",
        "weights": "experts in MXFP4 (rounded so all through training), the rest bfloat16",
        "size": f"{size:,} bytes",
    }
    lines = [f"| {name} | {text} |" for name, text in rows.items()]
    return "\n".join(["## What it is\n", "| | |", "|---|---|", *lines, ""])


def parameters(config: Any) -> tuple[int, int]:
    """All, and those a token uses."""
    from ossia.checkpoint.layouts import our_shapes

    total = active = 0
    for name, shape in our_shapes(config, packed=False).items():
        count = 1
        for side in shape:
            count *= side
        total += count
        is_expert = len(shape) > 1 and shape[0] == config.num_local_experts and "router" not in name
        if is_expert:
            count = count * config.num_experts_per_tok // config.num_local_experts
        active += 0 if name == "embedding" else count
    return total, active


def shares() -> str:
    """What part of the dialogues each task has."""
    from ossia.tasks.nano import LATE, TASKS

    rows = [
        f"| {name} | {100 * task.share:.0f} % | {100 * task.late_share:.0f} % |"
        for name, task in TASKS.items()
    ]
    head = f"| task | share of the dialogues | from batch {LATE:,} on |"
    return "\n".join([head, "|---|---|---|", *rows])


def evaluated(table: Json) -> str:
    """The table, and how efforts compare."""
    lines = [
        "## What it gets right\n",
        "Greedy, these files, through the product's engine: `ossia eval nano --json` with "
        "`--n 500` and, where the table says so, 100. An answer is right when it is the expected "
        "text or JSON exactly, after the expected calls with exact arguments. Intervals: Wilson, "
        "95 %.\n",
        "| task | column | effort | n | right | 95 % interval | reasoning tokens (median) | "
        "notes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in table["rows"]:
        lines.append(
            f"| {row['task']} | {row['column']} | {row['effort']} | {row['n']} | {percent(row)} | "
            f"{row['reasoning_tokens_median']:g} | {notes(row)} |"
        )
    efforts = table["efforts"]
    lines.append(
        "\nThe same problem at all three efforts: the reasoning grew from low to medium to high at "
        f"{efforts['rising']:,} of {efforts['pairs']:,}.\n"
    )
    return "\n".join(lines)


def percent(row: Json) -> str:
    """Share and interval, as two cells."""
    low, high = wilson(row["right"], row["n"])
    share = 100 * row["right"] / max(1, row["n"])
    return f"{share:.1f} % | {100 * low:.1f} to {100 * high:.1f} %"


def with_tools(agent: Json) -> str:
    """Tasks done with real tools."""
    lines = [
        "## What it does with real tools\n",
        "Unseen tasks, `ossia eval agent --n 200`: it searches three pages in the local index and "
        "must cite the right one, computes in the sandboxed Python, calls functions that know one "
        "answer.\n",
        "| effort | task | n | right | 95 % interval | calls run |",
        "|---|---|---|---|---|---|",
    ]
    for effort in ("low", "medium", "high"):
        for row in agent.get(effort, {"rows": []})["rows"]:
            lines.append(
                f"| {effort} | {row['kind']} | {row['n']} | {percent(row)} | {row['calls']} |"
            )
    return "\n".join([*lines, ""])


def on_public_sets(public: list[Json]) -> str:
    """Nothing is expected here, and nothing is hidden."""
    lines = [
        "## Public test sets\n",
        "`python -m benchmarks.public_sets`; GSM8K itself is in no package, GSM-Symbolic is drawn "
        "from its templates.\n",
        "| set | effort | n | right | 95 % interval | too long for its context |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each['set']} | {each['effort']} | {each['n']} | {percent(each)} | {each['too_long']} |"
        for each in public
    ]
    return "\n".join([*lines, ""])


def transcripts(drawn: list[Json]) -> str:
    """Some dialogues as they went, failures too."""
    lines = [
        f"## {len(drawn)} dialogues, drawn at random\n",
        f"Seed {drawn[0]['seed']}, from every line of the table, whatever came out; / is a new "
        "line.\n",
    ]
    for number, each in enumerate(drawn, start=1):
        instructions = (
            f" (told before: {inline(each['instructions'])})" if each["instructions"] else ""
        )
        functions = f" (functions: {', '.join(each['functions'])})" if each["functions"] else ""
        replies = "<br>".join(inline(line) for line in each["said"])
        end = "" if each["right"] else f"<br>**wrong**; expected: {inline(each['expected'])}"
        lines.append(
            f"{number}. *{each['task']}, {each['column']}, {each['effort']}*"
            f"{instructions}{functions} **{inline(each['asked'])}**<br>{replies}{end}"
        )
    return "\n".join([*lines, ""])


def inline(text: str) -> str:
    """In one line of Markdown."""
    flat = " / ".join(line for line in text.split("\n") if line)
    return flat.replace("|", "\\|").replace("<", "&lt;")


def committed(commit: str) -> str:
    """In words: `ID`, or `STEP:ID`."""
    step, _, name = commit.rpartition(":")
    return f"`{name}` from step {int(step):,} on" if step else f"`{name}`"


def provenance(folder: Path, log: list[Json], commits: list[str]) -> str:
    """How it was made, and the files' hashes."""
    runs = [entry["run"] | {"step": entry["step"]} for entry in log if "run" in entry]
    steps = [line for line in log if "tokens_per_second" in line]
    judged = [line for line in log if "validation_loss" in line]
    last = steps[-1]
    commands = []
    for run in runs:
        constant = " --constant-lr" if run["constant_lr"] else ""
        commands.append(
            f"from step {run['step']:,}: `ossia train nano --shape {run['shape']} --seed "
            f"{run['seed']} --tokens {run['tokens']:g} --lr {run['lr']:g} --muon-lr "
            f"{run['muon_lr']:g} --workers {run['workers']}{constant}`"
        )
    lines = [
        "## Where it comes from\n",
        f"Commit {', '.join(map(committed, commits))}; torch {runs[-1]['torch']}, on "
        f"{runs[-1]['machine']}, with AVX2:\n",
        *(f"- {command}" for command in commands),
        "",
        f"About {last['step']:,} steps and {last['tokens']:,} tokens in {last['seconds']:,.0f} "
        f"seconds of each worker's own time. Last loss {last['loss']:.3f} nats a learned token, on "
        f"unseen problems {judged[-1]['validation_loss']:.3f} at step {judged[-1]['step']:,}. The "
        "bits are the same on the same machine with as many workers; elsewhere the scores should "
        "fall into the intervals.\n",
        "| file | SHA-256 |",
        "|---|---|",
        *(
            f"| {name} | `{hashlib.sha256((folder / name).read_bytes()).hexdigest()}` |"
            for name in FILES
        ),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
