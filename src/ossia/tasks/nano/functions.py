"""Calls of unknown functions: the schema, the request, the result, the answer.

A fifth of the requests fits no function or lacks an argument. Held out: a tenth of the
functions' names.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ossia.harmony.messages import Conversation, Message
from ossia.harmony.schema_text import json_text
from ossia.tasks.nano.messages import call_function, converse, final, result, thought, user
from ossia.tasks.nano.schemas import Function, Parameter, draw_function
from ossia.tasks.nano.words import digits, invented, load
from ossia.tasks.task import (
    CLOSERS,
    OPENERS,
    TaskSettings,
    draw_of_split,
    pick,
    pick_some,
    split_of,
    wordings,
)

MAX_FUNCTIONS = 3
UNFIT_SHARE, LACKING_SHARE, AGAIN_SHARE, TWICE_SHARE = 0.1, 0.1, 0.12, 0.08
"""Of requests: no function fits, an argument is missing, another follows, two are made at once."""
ERROR_SHARE, INJECTED_SHARE, LATER_SHARE = 0.08, 0.06, 0.3

_DATA = load("functions")
ASKING_WORDINGS: tuple[str, ...] = _DATA["asking_wordings"]
DOING_WORDINGS: tuple[str, ...] = _DATA["doing_wordings"]
FORMS: tuple[str, ...] = _DATA["forms"]
PLACE_FORMS = ("in {value}", "for {value}", *FORMS)
AGAIN: tuple[str, ...] = _DATA["again"]
NO_FUNCTION = "I have no function for that."
RESULT_KEYS: tuple[str, ...] = _DATA["result_keys"]
INJECTIONS: tuple[str, ...] = _DATA["injections"]
"""Prompt injections inside a result; the last two are held out."""


@dataclass(frozen=True, slots=True)
class FunctionRequest:
    """A function and its arguments in a request; one may be missing."""

    function: Function
    arguments: dict[str, Any]
    lacking: Parameter | None = None

    def __str__(self) -> str:
        """What decides the split."""
        return f"{self.function.name} {json_text(self.arguments)}"


def draw(random: np.random.Generator, settings: TaskSettings) -> Conversation:
    """A request with one to three functions on offer."""
    functions = _draw_functions(random, settings)
    function = functions[int(random.integers(len(functions)))]
    share = random.random()
    if share < UNFIT_SHARE:
        messages = _request_without_function(random, settings, functions)
    elif share < UNFIT_SHARE + LACKING_SHARE and function.parameters:
        messages = _request_without_argument(random, settings, function)
    else:
        messages = _fulfil(random, settings, function, functions)
    return converse(messages, settings, functions=tuple(each.tool for each in functions))


def _draw_functions(random: np.random.Generator, settings: TaskSettings) -> list[Function]:
    """Functions of different names."""
    found: dict[str, Function] = {}
    count = int(random.integers(1, MAX_FUNCTIONS + 1))
    while len(found) < count:
        function = draw_function(random, held_out=settings.held_out)
        found[function.name] = function
    return list(found.values())


def _draw_request(
    random: np.random.Generator, settings: TaskSettings, function: Function
) -> FunctionRequest:
    """Values for all that is required, and for some of the rest."""

    def draw_one(random: np.random.Generator) -> FunctionRequest:
        return FunctionRequest(
            function,
            {
                each.name: each.draw(random)
                for each in function.parameters
                if each.required or random.random() < 0.5
            },
        )

    return draw_of_split(random, settings.split, draw_one, lambda one: split_of(str(one)))


def _fulfil(
    random: np.random.Generator,
    settings: TaskSettings,
    function: Function,
    functions: list[Function],
) -> tuple[Message, ...]:
    """Question, call, result, answer; sometimes twice."""
    request = _draw_request(random, settings, function)
    share = random.random()
    if share < TWICE_SHARE and len(functions) > 1:
        other = next(each for each in functions if each.name != function.name)
        second = _draw_request(random, settings, other)
        questions = [_word_request(random, settings, each) for each in (request, second)]
        steps, answer = _call(random, settings, request)
        more, end = _call(random, settings, second)
        return (
            user(" Then ".join(questions)),
            *steps,
            *more,
            *_answer_messages(settings, f"{answer} {end}"),
        )
    question = _word_request(random, settings, request)
    if not settings.reworded:
        question = _vary_politeness(random, question)
    steps, answer = _call(random, settings, request)
    messages = (user(question), *steps, *_answer_messages(settings, answer))
    if share < TWICE_SHARE + AGAIN_SHARE and request.arguments:
        return (*messages, *_again(random, settings, request))
    return messages


def _again(
    random: np.random.Generator, settings: TaskSettings, request: FunctionRequest
) -> tuple[Message, ...]:
    """Repeat the request with one argument changed."""
    key = pick(random, list(request.arguments))
    parameter = next(each for each in request.function.parameters if each.name == key)
    changed = FunctionRequest(request.function, {**request.arguments, key: parameter.draw(random)})
    phrase = _word_argument(random, parameter, changed.arguments[key])
    steps, answer = _call(random, settings, changed)
    question = pick(random, wordings(AGAIN, settings)).format(arguments=phrase)
    return (user(question), *steps, *_answer_messages(settings, answer))


def _request_without_function(
    random: np.random.Generator, settings: TaskSettings, functions: list[Function]
) -> tuple[Message, ...]:
    """A request that fits none of the functions."""
    nouns = {each.noun for each in functions}
    while True:
        function = draw_function(random, held_out=settings.held_out)
        if function.noun not in nouns:
            break
    request = _draw_request(random, settings, function)
    names = ", ".join(each.name for each in functions)
    reasoning = settings.think(
        f"{function.spoken_verb} {function.noun}: no function", f"There is only {names}. I say so."
    )
    return (user(_word_request(random, settings, request)), *thought(reasoning), final(NO_FUNCTION))


def _request_without_argument(
    random: np.random.Generator, settings: TaskSettings, function: Function
) -> tuple[Message, ...]:
    """A request without something that is required; once the user supplies it, the call is made."""
    request = _draw_request(random, settings, function)
    required = [each for each in function.parameters if each.required]
    lacking = pick(random, required)
    known = {key: value for key, value in request.arguments.items() if key != lacking.name}
    question = _word_request(random, settings, FunctionRequest(function, known))
    reasoning = settings.think(
        f"{function.name} {_list_arguments(known)}, {lacking.name} is missing".replace(" ,", ","),
        f"I ask for the {lacking.name}.",
    )
    messages = (user(question), *thought(reasoning), final(f"Please tell me the {lacking.name}."))
    if random.random() > LATER_SHARE:
        return messages
    value = request.arguments[lacking.name]
    phrase = _spell(value) if random.random() < 0.5 else _word_argument(random, lacking, value)
    steps, answer = _call(random, settings, request)
    return (*messages, user(phrase), *steps, *_answer_messages(settings, answer))


def _call(
    random: np.random.Generator, settings: TaskSettings, request: FunctionRequest
) -> tuple[tuple[Message, ...], str]:
    """The reasoning, the call and its result; and what is to be answered."""
    function = request.function
    arguments = {
        each.name: request.arguments[each.name]
        for each in function.parameters
        if each.name in request.arguments
    }
    needed = [each.name for each in function.parameters if each.required]
    reasoning = settings.think(
        f"{function.name} {_list_arguments(arguments)}".strip(),
        f"Needed: {', '.join(needed) or 'nothing'}. Nothing is missing.",
    )
    call = call_function(function.name, arguments)
    back, answer = _draw_outcome(random, settings, function)
    return (*thought(reasoning), call, result(call, back)), answer


def _draw_outcome(
    random: np.random.Generator, settings: TaskSettings, function: Function
) -> tuple[str, str]:
    """The result of a call and the answer that reports it."""
    if random.random() < ERROR_SHARE:
        why = pick(random, ("not found", "no access", "time out", "bad request", "server down"))
        return json_text({"error": why}), f"That failed: {why}."
    if function.asks:
        text, answer = _draw_result(random, function.noun)
    else:
        text = pick(random, ('{"status":"ok"}', "ok", "done", '{"ok":true}', '{"result":"done"}'))
        answer = "Done."
    if random.random() < INJECTED_SHARE:
        text += "\n" + pick(random, wordings(INJECTIONS, settings)).format(word=invented(random))
    return text, answer


def _draw_result(random: np.random.Generator, noun: str) -> tuple[str, str]:
    """A value, bare or under a key, or two values; and the answer."""
    value, share = _value(random), random.random()
    answer = f"The {noun} is {_spell(value)}."
    if share < 0.2:
        return _spell(value), answer
    if share < 0.4:
        return json_text({pick(random, ("result", "value", "answer")): value}), answer
    if share < 0.8:
        return json_text({noun: value}), answer
    keys = pick_some(random, (*RESULT_KEYS, *(invented(random).lower() for _ in range(3))), 2)
    both = {keys[0]: value, keys[1]: _value(random)}
    answer = " and ".join(f"the {key} is {_spell(each)}" for key, each in both.items())
    return json_text(both), f"{answer[0].upper()}{answer[1:]}."


def _value(random: np.random.Generator) -> Any:
    share = random.random()
    if share < 0.4:
        return digits(random, int(random.integers(1, 4)))
    if share < 0.5:
        return digits(random, 2) + 0.5
    return (
        invented(random)
        if share < 0.8
        else pick(random, ("open", "full", "ready", "sunny", "late", "free", "cold"))
    )


def _answer_messages(settings: TaskSettings, answer: str) -> tuple[Message, ...]:
    """The answer; high effort says first what it has seen."""
    seen = thought("The result is here. I answer.") if settings.effort == "high" else ()
    return (*seen, final(answer))


def _word_request(
    random: np.random.Generator, settings: TaskSettings, request: FunctionRequest
) -> str:
    """The request as people word it."""
    function = request.function
    every = ASKING_WORDINGS if function.asks else DOING_WORDINGS
    shuffled = list(request.arguments)
    if random.random() < 0.3:
        random.shuffle(shuffled)
    parameters = {each.name: each for each in function.parameters}
    parts = [_word_argument(random, parameters[key], request.arguments[key]) for key in shuffled]
    phrase = parts[0] if parts else ""
    for nth, part in enumerate(parts[1:], start=2):
        phrase += (" and " if nth == len(parts) and random.random() < 0.6 else ", ") + part
    text = pick(random, wordings(every, settings)).format(
        verb=function.spoken_verb, noun=function.noun, name=function.name, arguments=phrase
    )
    text = text.replace(" .", ".").replace(" ?", "?").replace("  ", " ").rstrip(" :")
    return text[0].upper() + text[1:] if random.random() < 0.7 else text


def _vary_politeness(random: np.random.Generator, question: str) -> str:
    """Sometimes with a word before or behind."""
    if random.random() < 0.1:
        question = pick(random, OPENERS) + question
    return question + pick(random, CLOSERS[:3]) if random.random() < 0.1 else question


def _word_argument(random: np.random.Generator, parameter: Parameter, value: Any) -> str:
    """One argument in the words of a request."""
    is_place = parameter.name in ("city", "place", "location", "country", "street")
    forms = PLACE_FORMS if is_place else FORMS
    quoted = isinstance(value, str) and random.random() < 0.2
    spelled = f'"{value}"' if quoted else _spell(value)
    return pick(random, forms).format(key=parameter.name, value=spelled)


def _spell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _list_arguments(arguments: dict[str, Any]) -> str:
    """Arguments as the reasoning notes them."""
    return ", ".join(f"{key} {_spell(value)}" for key, value in arguments.items())
