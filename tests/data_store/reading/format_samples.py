"""One real-shaped record or few of every format: the fields that published sets and tools write, with short texts.

Of preferences each sample says that `GOOD` is better than `BAD` as an answer to `ASKED`; of dialogues that `GOOD` is
the answer.
"""

from collections.abc import Mapping, Sequence
from typing import Any

ASKED, GOOD, BAD = "Is rice safe for cats?", "Yes, in small amounts.", "Ask."
_U = {"role": "user", "content": ASKED}
_G = {"role": "assistant", "content": GOOD}
_B = {"role": "assistant", "content": BAD}
_SENT = {"user_id": "u1", "status": "submitted"}


def _message(identity: str, parent: str | None, role: str, text: str, rank: float | None) -> dict[str, Any]:
    flags = {"lang": "en", "review_result": True, "deleted": False, "synthetic": False, "review_count": 3}
    tree = {"message_tree_id": "m1", "tree_state": "ready_for_export"}
    return {"message_id": identity, "parent_id": parent, "role": role, "text": text, "rank": rank, **flags, **tree}


_TREE = {
    **_message("m1", None, "prompter", ASKED, None),
    "replies": [
        {**_message("m2", "m1", "assistant", BAD, 1), "replies": []},
        {**_message("m3", "m1", "assistant", GOOD, 0), "replies": []},
    ],
}
_LABEL_STUDIO = {"id": 1, "data": {"prompt": ASKED, "response_a": GOOD, "response_b": BAD}, "predictions": []}
_PAIRWISE = {"from_name": "pw", "to_name": "pw", "type": "pairwise", "value": {"selected": "left"}}
_CREATED = {"created_at": "2024-01-01T00:00:00Z", "updated_at": "2024-01-01T00:00:00Z", "lead_time": 1.0}


def _annotated(*results: dict[str, Any], **data: Any) -> dict[str, Any]:
    annotation = {"id": 1, "completed_by": 7, "was_cancelled": False, "result": list(results)}
    return {**_LABEL_STUDIO, "data": {**_LABEL_STUDIO["data"], **data}, "annotations": [annotation]}  # type: ignore[dict-item]


# format → name of the sample → its records
PREFERENCES: Mapping[str, Mapping[str, Sequence[dict[str, Any]]]] = {
    "oasst": {"trees": [{"message_tree_id": "m1", "tree_state": "ready_for_export", "prompt": _TREE}]},
    "oasst_flat": {
        "messages": [
            _message("m1", None, "prompter", ASKED, None),
            _message("m2", "m1", "assistant", BAD, 1.0),
            _message("m3", "m1", "assistant", GOOD, 0.0),
        ]
    },
    "argilla": {
        "records": [
            {
                "id": "r",
                "fields": {"prompt": ASKED, "response_a": GOOD, "response_b": BAD},
                "metadata": {"length": 1},
                "responses": {"preference": [{"value": ["response_a", "response_b"], **_SENT}]},
            }
        ],
        "flat": [
            {
                "id": "r",
                "status": "completed",
                "_server_id": None,
                "prompt": ASKED,
                "response_a": GOOD,
                "response_b": BAD,
                "preference.responses": [["response_a", "response_b"]],
                "preference.responses.users": ["u1"],
                "preference.responses.status": ["submitted"],
            }
        ],
        "feedback": [
            {
                "fields": {"prompt": ASKED, "response_a": GOOD, "response_b": BAD},
                "metadata": {"split": "test", "annotator": 3},
                "responses": [
                    {
                        **_SENT,
                        "values": {
                            "preference": {
                                "value": [{"value": "response_a", "rank": 1.0}, {"value": "response_b", "rank": 2.0}]
                            }
                        },
                    }
                ],
            }
        ],
        "feedback_as_datasets": [
            {
                "prompt": ASKED,
                "response_a": GOOD,
                "response_b": BAD,
                "preference": [{**_SENT, "value": {"rank": [1, 2], "value": ["response_a", "response_b"]}}],
                "preference-suggestion": None,
                "external_id": None,
                "metadata": "{}",
            }
        ],
    },
    "label_studio": {
        "json": [_annotated(_PAIRWISE)],
        "before_1_0": [
            {**_LABEL_STUDIO, "completions": [{"id": 1, "result": [_PAIRWISE]}]},
        ],
        "json_min": [
            {
                "prompt": ASKED,
                "response_a": GOOD,
                "response_b": BAD,
                "id": 1,
                "pw": [{"selected": "left"}],
                "annotator": "a@example.org",
                "annotation_id": 1,
                **_CREATED,
            }
        ],
        "csv": [
            {
                "annotation_id": "1",
                "annotator": "a@example.org",
                **_CREATED,
                "id": "1",
                "prompt": ASKED,
                "response_a": GOOD,
                "response_b": BAD,
                "pw": '[{"selected":"left"}]',
            }
        ],
        "ranker": [
            _annotated(
                {"from_name": "r", "to_name": "l", "type": "ranker", "value": {"ranker": {"rank": ["x", "y"]}}},
                items=[{"id": "y", "title": "Y", "body": BAD}, {"id": "x", "title": "X", "body": GOOD}],
            )
        ],
        "ratings": [
            _annotated(
                {"from_name": "ra", "to_name": "response_a", "type": "rating", "value": {"rating": 5}},
                {"from_name": "rb", "to_name": "response_b", "type": "rating", "value": {"rating": 2}},
            )
        ],
    },
    "ultrafeedback": {
        "openbmb": [
            {
                "source": "flan",
                "instruction": ASKED,
                "models": ["a", "b"],
                "completions": [
                    {"model": "a", "overall_score": 8.5, "response": GOOD, "fine-grained_score": 4.5},
                    {"model": "b", "overall_score": 6.0, "response": BAD, "fine-grained_score": 2.0},
                ],
            }
        ]
    },
    "chatbot_arena": {
        "conversations": [
            {
                "question_id": "1",
                "model_a": "x",
                "model_b": "y",
                "winner": "model_b",
                "judge": "arena_user_1",
                "conversation_a": [_U, _B],
                "conversation_b": [_U, _G],
                "turn": 1,
                "language": "English",
            }
        ],
        "table": [
            {
                "id": "1",
                "model_a": "x",
                "model_b": "y",
                "prompt": f'["{ASKED}"]',
                "response_a": f'["{GOOD}"]',
                "response_b": f'["{BAD}"]',
                "winner_model_a": "1",
                "winner_model_b": "0",
                "winner_tie": "0",
            }
        ],
    },
    "pku_saferlhf": {
        "two_axes": [
            {
                "prompt": ASKED,
                "response_0": GOOD,
                "response_1": BAD,
                "prompt_source": "x",
                "is_response_0_safe": True,
                "is_response_1_safe": False,
                "better_response_id": 0,
                "safer_response_id": 0,
                "response_0_severity_level": 0,
            }
        ]
    },
    "helpsteer_preference": {
        "helpsteer2": [
            {
                "split": "train",
                "prompt": ASKED,
                "response_1": GOOD,
                "response_2": BAD,
                "preference_strength": -2,
                "preference_statement": "..",
            }
        ],
        "helpsteer3": [
            {
                "domain": "general",
                "context": [_U],
                "response1": BAD,
                "response2": GOOD,
                "overall_preference": 1,
                "individual_preference": [{"score": 1}],
            }
        ],
    },
    "nectar": {
        "answers": [
            {
                "prompt": f"\n\nHuman: {ASKED}\n\nAssistant: ",
                "answers": [{"answer": GOOD, "model": "x", "rank": 1.0}, {"answer": BAD, "model": "y", "rank": 2.0}],
                "turns": 1,
                "num_responses": 2,
                "source": ["sharegpt"],
            }
        ]
    },
    "webgpt": {
        "scores": [
            {
                "question": {"dataset": "eli5", "id": "1", "full_text": ASKED},
                "answer_0": GOOD,
                "score_0": 1.0,
                "answer_1": BAD,
                "score_1": -1.0,
                "quotes_0": {"title": []},
            }
        ]
    },
    "shp": {
        "comments": [
            {
                "post_id": "1",
                "domain": "askvet_train",
                "history": ASKED,
                "human_ref_A": GOOD,
                "human_ref_B": BAD,
                "labels": 1,
                "score_A": 10,
                "score_B": 3,
                "score_ratio": 3.3,
            }
        ]
    },
    "summarize_feedback": {
        "articles": [
            {
                "info": {"id": "x", "article": ASKED, "post": None},
                "summaries": [{"text": BAD, "policy": "ref"}, {"text": GOOD, "policy": "sup"}],
                "choice": 1,
                "worker": "w",
                "split": "valid1",
                "extra": {"confidence": None},
            }
        ]
    },
    "openai_dpo": {
        "messages": [
            {
                "input": {"messages": [_U], "tools": [], "parallel_tool_calls": True},
                "preferred_output": [_G],
                "non_preferred_output": [_B],
            }
        ]
    },
    "datasets": {
        "trl_text": [{"prompt": ASKED, "chosen": GOOD, "rejected": BAD}],
        "trl_chat": [{"prompt": [_U], "chosen": [_G], "rejected": [_B]}],
        "trl_implicit": [{"chosen": [_U, _G], "rejected": [_U, _B]}],
        "ultrafeedback_binarized": [
            {
                "prompt": ASKED,
                "prompt_id": "x",
                "chosen": [_U, _G],
                "rejected": [_U, _B],
                "messages": [_U, _G],
                "score_chosen": 8.5,
                "score_rejected": 6.0,
            }
        ],
        "tulu": [{"id": "1", "prompt": ASKED, "chosen": [_U, _G], "rejected": [_U, _B], "chosen_rating": 5.0}],
        "argilla_cleaned": [
            {"chosen": [_U, _G], "rejected": [_U, _B], "chosen-rating": 5.0, "rejected-rating": 1.0},
        ],
        "distilabel": [
            {
                "prompt": ASKED,
                "chosen": [_U, _G],
                "rejected": [_U, _B],
                "rating": [5.0, 2.0],
                "conversation": [{"input": ASKED, "output": GOOD}],
            }
        ],
        "openrlhf": [{"prompt": ASKED, "chosen": GOOD, "rejected": BAD, "margin": 1.2}],
        "orca": [{"system": "", "question": ASKED, "chosen": GOOD, "rejected": BAD}],
        "orca_argilla": [{"system": "", "input": ASKED, "chosen": GOOD, "rejected": BAD, "rating": [9.0, 7.0]}],
        "llamafactory_alpaca": [{"instruction": ASKED, "input": "", "chosen": GOOD, "rejected": BAD}],
        "llamafactory_sharegpt": [
            {
                "conversations": [{"from": "human", "value": ASKED}],
                "chosen": {"from": "gpt", "value": GOOD},
                "rejected": {"from": "gpt", "value": BAD},
            }
        ],
        "axolotl": [{"messages": [_U], "chosen": _G, "rejected": _B}],
    },
    "rows": {"ours": [{"prompt": ASKED, "response_a": BAD, "response_b": GOOD, "chosen": "b", "id": 7}]},
    "hh": {
        "transcripts": [
            {
                "chosen": f"\n\nHuman: {ASKED}\n\nAssistant: {GOOD}",
                "rejected": f"\n\nHuman: {ASKED}\n\nAssistant: {BAD}",
            }
        ]
    },
    "helpsteer": {
        "lines": [
            {"prompt": ASKED, "response": GOOD, "helpfulness": 4, "correctness": 4, "verbosity": 1},
            {"prompt": ASKED, "response": BAD, "helpfulness": 1, "correctness": 1, "verbosity": 1},
        ]
    },
    "scored_lists": {
        "distilabel": [{"instruction": ASKED, "generations": [GOOD, BAD], "ratings": [5, 2], "rationales": ["", ""]}],
        "responses": [{"prompt": ASKED, "responses": [BAD, GOOD], "scores": [2, 5]}],
    },
    "stack_exchange": {
        "answers": [
            {
                "qid": 1,
                "question": ASKED,
                "date": "2020",
                "answers": [{"pm_score": 4, "selected": True, "text": GOOD}, {"pm_score": 1, "text": BAD}],
            }
        ],
        "pairs": [{"qid": 1, "question": ASKED, "response_j": GOOD, "response_k": BAD}],
    },
    "safety_labels": {
        "beavertails": [
            {"prompt": ASKED, "response": GOOD, "category": {"drugs": False}, "is_safe": True},
            {"prompt": ASKED, "response": BAD, "category": {"drugs": True}, "is_safe": False},
        ],
        "wildguard": [
            {"prompt": ASKED, "adversarial": False, "response": BAD, "response_harm_label": "harmful"},
            {"prompt": ASKED, "adversarial": False, "response": GOOD, "response_harm_label": "unharmful"},
        ],
    },
    "kto": {
        "lines": [
            {"prompt": ASKED, "completion": GOOD, "label": True},
            {"prompt": ASKED, "completion": BAD, "label": False},
        ],
        "chat": [
            {"prompt": [_U], "completion": [_B], "label": False},
            {"prompt": [_U], "completion": [_G], "label": True},
        ],
    },
}

# format → its record
DIALOGUES: Mapping[str, dict[str, Any]] = {
    "messages": {"id": "1", "messages": [{"role": "system", "content": ""}, _U, _G], "source": "x"},
    "sharegpt": {"conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": GOOD}]},
    "turns": {"id": "0", "data": [ASKED, GOOD]},
    "capybara": {"source": "x", "conversation": [{"input": ASKED, "output": GOOD}]},
    "self_instruct": {"id": "s", "instruction": ASKED, "instances": [{"input": "", "output": GOOD}]},
    "pair": {"prompt": ASKED, "response": GOOD},
    "prompt_completion": {"prompt": [_U], "completion": [_G]},
    "dolly": {"instruction": ASKED, "context": "", "response": GOOD, "category": "open_qa"},
    "openorca": {"id": "1", "system_prompt": "", "question": ASKED, "response": GOOD},
    "alpaca": {"instruction": ASKED, "input": "", "output": GOOD, "text": "Below is an instruction …", "history": []},
    "question_answer": {"question": ASKED, "answer": GOOD, "url": "x"},
    "input_output": {"input": ASKED, "output": GOOD},
    "guanaco": {"text": f"### Human: {ASKED}### Assistant: {GOOD}"},
}

# what a prompt may stand in → its record
PROMPTS: Mapping[str, dict[str, Any]] = {
    "prompt": {"prompt": ASKED, "category": "pets"},
    "chat": {"prompt": [_U]},
    "messages": {"messages": [_U]},
    "instruction": {"instruction": ASKED, "input": ""},
    "question": {"question": ASKED},
    "goal": {"goal": ASKED, "target": "Yes"},
    "conversation": {"conversation_id": "c", "conversation": [_U, _G]},
    "conversations": {"conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": GOOD}]},
    "real_toxicity": {"prompt": {"text": ASKED, "toxicity": 0.1}, "continuation": {"text": GOOD}},
}
