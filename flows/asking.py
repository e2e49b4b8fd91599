"""Asking an endpoint to judge before the step that reads its answers: they become a source with a hash, so nothing is
asked twice. A process that is killed goes on where it was. Knows no Prefect."""

from collections.abc import Mapping

from data_store.answers import Answer, AnswerFile, Key, register_answers
from data_store.records import Head
from data_store.store import Store
from flows.session import Session
from tasks.endpoint import Endpoint
from tasks.jobs import Progress, StepFailedError
from tasks.judge_pairs import judged_pairs, questions
from tasks.judges import Asked


def ask_judge(session: Session, part: str, step: str) -> None:
    """Ask what this step wants answered and has no answers to; nothing for a step that asks nobody.

    Raises InputError where the endpoint cannot be used as the config says, StepFailedError where it answers nothing.
    """
    call, store = session.plan[part, step], session.store
    for asked in call.of(Asked):
        pairs = store.head(asked.pairs)
        if pairs is None:
            return  # the step itself says what is missing
        asset = asked.answers(part, pairs.version_id)
        if store.head(asset) is None:
            with AnswerFile(store, asset) as file:
                if store.head(asset) is None:  # else another process was asking, and we waited for it
                    wanted = _questions(store, asked, pairs)
                    answers = _ask(asked, wanted, file, lambda share, text: session.heard(part, step, share, text))
                    origin = f"{asked.endpoint.model} at {asked.endpoint.url} on {asked.pairs} {pairs.version_id}"
                    register_answers(store, asset, answers, origin)
                    file.clear()


def _questions(store: Store, asked: Asked, pairs: Head) -> dict[Key, str]:
    mine = judged_pairs(store.rows(pairs.version_id).to_pylist(), asked.shares)
    return {(pair["pair_id"], name): text for pair in mine for name, text in questions(pair).items()}


def _ask(asked: Asked, wanted: Mapping[Key, str], file: AnswerFile, on_progress: Progress) -> list[Answer]:
    """The answers to all questions, those that were there before included."""
    answers = file.read()

    def keep(answer: Answer) -> None:
        file.add(answer)
        answers[answer.pair_id, answer.question] = answer
        on_progress(len(answers) / len(wanted), f"{len(answers)} of {len(wanted)} answers")

    with Endpoint(asked.endpoint) as endpoint:
        endpoint.ask_all([(key, text) for key, text in wanted.items() if key not in answers], keep)
    if all(answer.refused for answer in answers.values()):
        file.clear()  # nothing to keep: it may be asked again
        reasons = ", ".join(sorted({str(answer.refused) for answer in answers.values()}))
        raise StepFailedError(
            f"{asked.endpoint.model} at {asked.endpoint.url} answered none of {len(answers)} questions: {reasons}"
        )
    return [answers[key] for key in wanted]
