"""The sub-commands, one module each, and the table that lists them.

Imports nothing, so that help starts as fast as Python. Each module has a function `command`, whose
docstring starts with the help in the table, and `EXAMPLES`.
"""

ASK, SERVE, MODELS, MACHINE = "Ask", "Serve", "Models", "This computer"

COMMANDS = {
    "run": (ASK, "Answer one question: the answer on stdout, the thinking on stderr."),
    "chat": (
        ASK,
        "Chat with a model; /help lists the commands. From a pipe, each line is a message.",
    ),
    "index": (
        ASK,
        "Index the text, Markdown, HTML and PDF files of a folder for the browser tool.",
    ),
    "serve": (SERVE, "Serve a model over OpenAI's Responses and Chat Completions API."),
    "ps": (SERVE, "List your running servers: model, address, load."),
    "keys": (SERVE, "Create, list and revoke API keys; they take effect at once."),
    "mcp": (
        SERVE,
        "Serve the built-in tools to an MCP client, over stdin and stdout.",
    ),
    "show": (MODELS, "Show the shape of a model and the memory it needs."),
    "list": (MODELS, "List the models that -m takes by name; -m also takes any folder."),
    "prepare": (
        MODELS,
        "Convert a large model's weights to the backend's format, so that it starts at once.",
    ),
    "train": (
        MODELS,
        "Train a model like the embedded one; the same command resumes where it was stopped.",
    ),
    "doctor": (MACHINE, "Report what this computer has, for you or for a bug report."),
    "bench": (MACHINE, "Measure speed, loading time and memory, on random tokens."),
    "eval": (
        MACHINE,
        "Measure a model's accuracy, with confidence intervals, on held-out dialogues.",
    ),
}
"""Group and one-line help of each command, by name; its module has the same name."""
OPTIONS = {
    "--version": "Show the version and exit.",
    "--install-completion": "Install completion for the current shell.",
    "--show-completion": "Show completion for the current shell, to copy it or customize the "
    "installation.",
    "-h, --help": "Show this message and exit.",
}


def overview(columns: int) -> str:
    """The help of `ossia` itself, wrapped as typer wraps that of the commands."""
    width = max(min(columns, 100) - 2, 50)
    lines = ["Usage: ossia [OPTIONS] COMMAND [ARGS]...", ""]
    about = "Run, serve, teach and measure gpt-oss on your own machine."
    lines += [f"  {line}" for line in _wrap(about, width - 2)]
    lines += ["", "Options:", *_rows(OPTIONS, width)]
    shorten_to = width - 6 - max(map(len, COMMANDS))
    for group in dict.fromkeys(group for group, _ in COMMANDS.values()):
        helps = {
            name: _shorten(about, shorten_to)
            for name, (of, about) in COMMANDS.items()
            if of == group
        }
        lines += ["", f"{group}:", *_rows(helps, width)]
    return "\n".join(lines)


def _rows(rows: dict[str, str], width: int) -> list[str]:
    """Two columns, the second wrapped."""
    first = max(map(len, rows)) + 4
    lines = []
    for name, text in rows.items():
        head, *rest = _wrap(text, max(width - first, 10))
        lines += [f"{f'  {name}':{first}}{head}", *(" " * first + line for line in rest)]
    return lines


def _wrap(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _shorten(text: str, limit: int) -> str:
    """Cut a help text after its first sentence, or where the line ends."""
    words = text.partition(". ")[0].split()
    if len(whole := " ".join(words) + ("." if ". " in text else "")) <= limit:
        return whole
    while len(short := " ".join(words) + "...") > limit:
        words.pop()
    return short
