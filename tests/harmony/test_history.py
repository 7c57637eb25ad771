from ossia.harmony.history import drop_old_reasoning
from ossia.harmony.messages import Message


def user(text="?"):
    return Message(role="user", content=text)


def by_assistant(channel, recipient=None, text="..."):
    return Message(role="assistant", channel=channel, recipient=recipient, content=text)


def result(name, channel="commentary"):
    return Message(role="tool", name=name, channel=channel, content="result")


THOUGHT = by_assistant("analysis")
PREAMBLE = by_assistant("commentary")
FINAL = by_assistant("final")
CALL = by_assistant("commentary", "functions.f")
RESULT = result("functions.f")


def test_thoughts_of_answered_turns_go_and_answers_stay():
    past = [user(), THOUGHT, FINAL, user(), THOUGHT, FINAL]
    history = drop_old_reasoning([*past, user()])
    assert history == (user(), FINAL, user(), FINAL, user())


def test_an_answer_no_user_message_follows_ends_no_turn():
    turn = (user(), THOUGHT, CALL, RESULT, THOUGHT, FINAL)
    assert drop_old_reasoning(turn) == turn


def test_the_reasoning_of_a_tool_loop_stays():
    loop = (user(), THOUGHT, CALL, RESULT, THOUGHT, CALL, RESULT)
    assert drop_old_reasoning(loop) == loop
    assert drop_old_reasoning((user(), THOUGHT, FINAL, *loop)) == (user(), FINAL, *loop)


def test_a_second_user_message_alone_drops_nothing():
    unanswered = (user(), THOUGHT, PREAMBLE, user())
    assert drop_old_reasoning(unanswered) == unanswered


def test_function_calls_and_preambles_stay_on_any_channel():
    odd = by_assistant("analysis", "functions.f")
    past = [user(), THOUGHT, PREAMBLE, CALL, RESULT, odd, result("functions.f", "analysis"), FINAL]
    history = drop_old_reasoning([*past, user()])
    assert history == (*[m for m in past if m is not THOUGHT], user())


def test_built_in_calls_on_analysis_go_with_their_results():
    python, search = by_assistant("analysis", "python"), by_assistant("analysis", "browser.search")
    past = [
        python,
        result("python", "analysis"),
        search,
        result("browser.search", "analysis"),
        FINAL,
    ]
    assert drop_old_reasoning([user(), *past, user()]) == (user(), FINAL, user())


def test_built_in_calls_on_commentary_stay_with_their_results():
    python, answer = by_assistant("commentary", "python"), result("python")
    dropped = by_assistant("analysis", "python")  # cut short, so without a result
    history = drop_old_reasoning([user(), dropped, python, answer, FINAL, user()])
    assert history == (user(), python, answer, FINAL, user())


def test_a_result_of_another_tool_stays():
    history = drop_old_reasoning([by_assistant("analysis", "python"), RESULT, FINAL, user()])
    assert history == (RESULT, FINAL, user())


def test_an_empty_history_stays_empty():
    assert drop_old_reasoning([]) == ()
