"""How long somebody waits for the first token of `halter chat`, by the clock, once the model is loaded.

    python -m benchmarks.chat_first_token FOLDER [--dialogues 5] [--answer 24] [--threads 1] [--most 1.0]

FOLDER is that of a model, such as SmolLM2-135M-Instruct. Each dialogue is opened anew, says a short question, one of
about 170 tokens and a short one again, and measures from the moment at which the chat is told to the first words that
it gives: the path of the command, without the terminal. Beside it stands the processor time of the same, which other
work on the machine changes less. Ends with 1 where the slowest first token comes later than `--most` seconds.
"""

import argparse
import statistics
import time
from pathlib import Path

from data_store.annotation.chat import Chat
from flows.chat import Limits, named_model, open_chat

QUESTIONS = (
    "What do llamas eat in winter, and where do they sleep?",
    "Here is what I know so far. " + "Llamas graze on high meadows, and they follow the herd when snow falls. " * 10,
    "Thank you. Say it in one sentence.",
)


def first_token(chat: Chat, question: str) -> tuple[float, float]:
    """(seconds by the clock, seconds on the processor) until the first words come; the rest of the answer is heard."""
    began, spent = time.monotonic(), time.process_time()
    answer = chat.say(question)
    next(answer)
    found = time.monotonic() - began, time.process_time() - spent
    for _ in answer:
        pass
    return found


def main() -> None:
    """Load once, and talk."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dialogues", type=int, default=5)
    parser.add_argument("--answer", type=int, default=24)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--most", type=float, default=1.0)
    options = parser.parse_args()
    limits = Limits(context=2048, max_new_tokens=options.answer, seconds=120.0)
    began = time.monotonic()
    opened = open_chat(
        [named_model(str(options.folder), None)], None, limits, annotator=None, threads=options.threads, seed=0
    )
    print(f"loaded in {time.monotonic() - began:.1f} s")
    waits: list[list[tuple[float, float]]] = [[] for _ in QUESTIONS]
    for _ in range(options.dialogues):
        chat = Chat(opened.chat.speakers, None, seed=0)
        for question, found in zip(QUESTIONS, waits, strict=True):
            found.append(first_token(chat, question))
    print(f"first token, seconds by the clock (on the processor), {options.dialogues} dialogues: median, slowest")
    for number, found in enumerate(waits, start=1):
        clock, busy = ([each[kind] for each in found] for kind in (0, 1))
        print(
            f"turn {number}: {statistics.median(clock):.2f} ({statistics.median(busy):.2f}), "
            f"{max(clock):.2f} ({max(busy):.2f})"
        )
    slowest = max(clock for found in waits for clock, _ in found)
    if slowest > options.most:
        raise SystemExit(f"the slowest first token came after {slowest:.2f} s; at most {options.most:g} are wanted")


if __name__ == "__main__":
    main()
