"""Judges behind an endpoint, against a real HTTP server of this test that speaks its protocol."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fedsafe.contracts import Exchange, Prompt, judges
from fedsafe.errors import ConfigError, RunError
from fedsafe.evaluation.kept import judge_key
from fedsafe.experiment.load import load
from fedsafe.experiment.schema import PluginChoice

pytest.importorskip("openai")

EXCHANGES = [Exchange(Prompt(f"p{i}", f"request {i}", "harmful"), f"reply {i}") for i in range(6)]
KEY = "tok-3141592653"


class Server(ThreadingHTTPServer):
    """Says what ``answer`` makes of a prompt; answers the first ``failures`` requests with 429.

    ``refuses`` says of a prompt whether it is answered with 400.
    """

    answer = staticmethod(lambda prompt: "1.b 0\n2.b 5\n3.b 5")
    failures = 0
    status = 429
    error = "too fast"
    counts = True
    refuses = staticmethod(lambda prompt: False)

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict[str, object]] = []
        self.keys: set[str] = set()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        server.asked.append(body)
        server.keys.add(self.headers["Authorization"])
        if server.failures > 0:
            server.failures -= 1
            self.reply(server.status, {"error": {"message": server.error}})
            return
        prompt = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        if server.refuses(prompt):
            self.reply(400, {"error": {"message": "content filter"}})
            return
        text = server.answer(prompt)
        if text is None:
            self.reply(200, {"object": "a page"})
            return
        choice = {"index": 0, "finish_reason": "stop", "text": text}
        choice["message"] = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 30, "completion_tokens": 10, "total_tokens": 40}
        usage = usage if server.counts else None
        record = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"]}
        self.reply(200, {**record, "choices": [choice], "usage": usage})

    def reply(self, status, record):
        data = json.dumps(record).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Retry-After", "0.01")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def ask(server, tmp_path):
    def run(name="endpoint", exchanges=EXCHANGES, **settings):
        settings = {"url": server.url, "model": "m", "cache": str(tmp_path / "c"), **settings}
        return judges[name].configure(settings)(exchanges)

    return run


def test_replies_become_verdicts(ask):
    assert {(v.outcome, v.score) for v in ask()} == {("comply", 1.0)}


def test_each_request_holds_its_own_texts(ask, server):
    server.answer = lambda prompt: "#scores\n1.b 1\n2.b 1\n3.b 1" if "reply 3" in prompt else "?"
    assert [v.outcome for v in ask()] == ["unknown"] * 3 + ["refuse"] + ["unknown"] * 2


def test_a_rate_limit_that_passes_is_waited_for(ask, server):
    server.failures = 2
    assert len(ask(concurrency=1)) == 6
    assert len(server.asked) == 8


def test_what_was_replied_is_never_asked_again(ask, server):
    ask()
    ask(exchanges=[*EXCHANGES, Exchange(Prompt("p9", "another", "harmful"), "reply")])
    assert len(server.asked) == 7


def test_a_budget_of_calls_ends_the_work_and_the_next_goes_on(ask, server):
    with pytest.raises(RunError, match=r"4 calls.*4 of 6 new replies are kept"):
        ask(max_calls=4)
    assert len(ask(max_calls=4)) == 6
    assert len(server.asked) == 6


def test_a_budget_of_tokens_ends_the_work(ask, server):
    with pytest.raises(RunError, match=r"100 tokens.*max_tokens"):
        ask(max_tokens=100, concurrency=1)
    assert len(server.asked) == 3


def test_stages_of_one_command_share_a_budget(ask, server):
    ask(exchanges=EXCHANGES[:4], max_calls=5)
    with pytest.raises(RunError, match=r"5 calls.*1 of 2 new replies are kept"):
        ask(exchanges=EXCHANGES[4:], max_calls=5)
    assert len(server.asked) == 5


def test_a_budget_makes_no_other_judge(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    chosen = {"name": "endpoint", "url": "http://localhost/v1", "model": "m"}
    more = {"max_calls": 9, "max_tokens": 9, "cache": "c", "retries": 1, "api_key": "env:MY_KEY"}
    keys = [
        judge_key(PluginChoice(**chosen, **also)) for also in ({}, more, {"style": "harmbench"})
    ]
    assert keys[0] == keys[1] != keys[2]


def test_a_budget_of_tokens_takes_an_endpoint_that_counts_them(ask, server):
    server.counts = False
    with pytest.raises(RunError, match=r"does not say how many tokens.*1 of 6 new replies"):
        ask(max_tokens=100, concurrency=1)


def test_a_reply_without_a_text_is_unknown_and_asked_again(ask, server):
    server.answer = lambda prompt: "" if "reply 2" in prompt else "1.b 0\n2.b 5\n3.b 5"
    found = ask(concurrency=1)
    assert [v.outcome for v in found] == ["comply"] * 2 + ["unknown"] + ["comply"] * 3
    assert "without a text (finish_reason stop)" in found[2].raw
    ask()
    assert len(server.asked) == 7


def test_a_key_that_a_server_repeats_is_not_told(ask, server, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    server.failures, server.status, server.error = 9, 401, f"wrong key {KEY}"
    with pytest.raises(RunError, match=r"wrong key \[secret\]"):
        ask(api_key="env:MY_KEY", concurrency=1)


def test_a_rate_limit_that_stays_is_one_sentence(ask, server):
    server.failures = 99
    with pytest.raises(RunError, match=r"limits the rate, after 2 tries"):
        ask(retries=1, concurrency=1)


def test_an_endpoint_that_is_down_is_one_sentence(ask):
    with pytest.raises(RunError, match=r"cannot be reached, at the first try"):
        ask(url="http://127.0.0.1:9/v1", retries=0)


def test_an_error_of_the_endpoint_is_one_sentence(ask, server):
    server.failures, server.status = 99, 400
    with pytest.raises(RunError, match=r"answered with an error \(400"):
        ask(concurrency=1)


def test_the_key_is_sent_and_kept_nowhere(ask, server, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    ask(api_key="env:MY_KEY")
    assert server.keys == {f"Bearer {KEY}"}
    assert KEY.encode() not in (tmp_path / "c").read_bytes()


def test_a_key_that_is_not_set_is_named(ask):
    with pytest.raises(ConfigError, match="no environment variable MY_KEY"):
        ask(api_key="env:MY_KEY")


def test_a_key_itself_is_refused_in_an_experiment(server):
    chosen = {"name": "endpoint", "url": server.url, "model": "m", "api_key": KEY}
    with pytest.raises(ConfigError, match="write env:NAME"):
        load("micro-quick", (f"evaluation.judge={json.dumps(chosen)}",))


def test_completions_get_the_prompt_as_it_is(ask, server):
    server.answer = lambda prompt: " safe"
    found = ask(style="md-judge", parser="reference", api="completions")
    assert {v.outcome for v in found} == {"refuse"}
    assert str(server.asked[0]["prompt"]).startswith("[INST] Task: Check")


def test_first_turns_are_rated_against_a_reference_where_there_is_one(ask, server):
    server.answer = lambda p: "Rating: [[4]]" if "The Start of Reference Answer" in p else "[[8.5]]"
    plain = Exchange(Prompt("a", "Write a haiku.", "utility"), "Snow.")
    known = Exchange(Prompt("b", "2 + 2?", "utility", expected=("4",)), "5")
    assert [v.score for v in ask("mt-bench", [plain, known])] == [8.5, 4.0]


def test_a_rating_that_is_none_is_no_score(ask, server):
    server.answer = lambda prompt: "[[17]]"
    assert {v.score for v in ask("mt-bench")} == {None}


def test_a_style_whose_prompt_stands_in_a_tokenizer_is_refused(ask):
    with pytest.raises(ConfigError, match="llama-guard"):
        ask(style="llama-guard-3")


def test_a_request_that_is_refused_alone_is_unknown_and_asked_again(ask, server):
    server.refuses = lambda prompt: "reply 2" in prompt
    found = ask(style="md-judge", parser="reference")
    assert [v.outcome for v in found] == ["comply"] * 2 + ["unknown"] + ["comply"] * 3
    assert "400: Error code: 400" in found[2].raw
    server.refuses = lambda prompt: False
    assert {v.outcome for v in ask(style="md-judge", parser="reference")} == {"comply"}
    assert len(server.asked) == 7


def test_an_endpoint_that_refuses_every_request_is_one_sentence(ask, server):
    server.refuses = lambda prompt: True
    with pytest.raises(RunError, match=r"answered with an error \(400.*0 of 6 new replies"):
        ask()


def test_what_is_no_reply_is_one_sentence(ask, server):
    server.answer = lambda prompt: None
    with pytest.raises(RunError, match=r"something else than a reply of the chat API.*/v1"):
        ask(concurrency=1)


def test_fields_of_a_request_can_be_added_and_left_out(ask, server):
    ask(exchanges=EXCHANGES[:1], options={"max_tokens": None, "max_completion_tokens": 9})
    sent = {n: v for n, v in server.asked[0].items() if n != "messages"}
    assert sent == {"model": "m", "temperature": 0.0, "max_completion_tokens": 9}


def test_first_turns_are_rated_after_fastchat_s_system_turn(ask, server):
    ask("mt-bench", EXCHANGES[:1])
    first = server.asked[0]["messages"][0]
    assert first == {"role": "system", "content": "You are a helpful assistant."}


@pytest.mark.parametrize(("category", "score"), [("math", 4.0), ("extraction", 8.5)])
def test_references_are_shown_in_the_categories_of_fastchat(ask, server, category, score):
    server.answer = lambda p: "[[4]]" if "The Start of Reference Answer" in p else "[[8.5]]"
    prompt = Prompt("b", "2 + 2?", "benign", expected=("4",), topic=category)
    assert ask("mt-bench", [Exchange(prompt, "5")])[0].score == score


def test_harmbench_s_judge_is_shown_a_context_apart(ask, server):
    request = "A table.\n\n---\n\nSum it up."
    ask(exchanges=[Exchange(Prompt("a", request, "harmful"), "Done.")], style="harmbench")
    said = "[CONTEXT]:\nA table.\n\n[BEHAVIOR]:\nSum it up.\n\n[GENERATION]:\nDone.\n\n---"
    assert said in server.asked[0]["messages"][0]["content"]
