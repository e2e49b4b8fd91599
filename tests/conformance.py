"""The conformance suite: every known trap, the tests that prove that it is avoided, and the page that shows both.

`python -m tests.conformance --write` writes docs/conformance.md. Tests say which rows they prove with
`@pytest.mark.conformance("<trap>", equation="module:function")`; they are found in the source, none is run.
"""

import argparse
import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tests.mutations import MUTATIONS

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "conformance.md"
COMMAND = "make conformance"


@dataclass(frozen=True)
class Row:
    """A trap, what its tests must show, and where it takes more than a word, why it is one."""

    trap: str
    proof: str
    note: str = ""


@dataclass(frozen=True)
class Proof:
    """One test that proves a row. `equation` is "module:function", the code that would fall into the trap."""

    trap: str
    file: str
    test: str
    line: int
    equation: str


SECTIONS: dict[str, tuple[Row, ...]] = {
    "Tokens, masks, padding": (
        Row(
            "padding side and position ids",
            "log-probabilities and reward score of a dialogue are equal alone, left-padded, right-padded, in a batch "
            "(1e-5)",
        ),
        Row(
            "the reward is read at the wrong token when pad = eos",
            "the score of a dialogue with EOS inside the prompt equals the unpadded score",
        ),
        Row(
            "logits of what is not learned",
            "SFT makes logits before the learned tokens alone: loss and gradients are those of transformers (1e-6), "
            "and each label is predicted from the token before it",
        ),
        Row(
            "tokens that nobody reads",
            "the last layer goes through the tokens alone whose hidden states are wanted: these and all gradients are "
            "those of a whole pass, in rows of one sequence, packed ones, padded ones and trees (1e-5)",
        ),
        Row("pad = eos masks EOS from the loss", "the label at the final EOS is not -100"),
        Row("double BOS", "exactly one BOS on every path: SFT, reward, rollout, evaluation, chat"),
        Row(
            "all-zero loss mask",
            "a data set in which any row has no loss token is refused before training, with the row named",
            "stock chat templates without generation markers",
        ),
        Row(
            "prompt and response tokenised apart from the dialogue",
            "training uses the sampled ids; prompt ids are a prefix of the full ids",
            "SentencePiece's leading space",
        ),
        Row(
            "a vocabulary of many blocks",
            "a token is drawn in two looks, at blocks and in one: those of a large vocabulary come as often as their "
            "probabilities say (chi-square), and with the same number the token is that of the whole cumulated sum",
        ),
        Row(
            "streamed answers",
            "token by token and with the keys and values of earlier turns, a chat draws the ids that a step would draw "
            "of the same dialogue with the same seed; of a prompt only what differs is read",
        ),
        Row(
            "what is learned is not what was sampled",
            "dialogue(messages, ids) is prompt(messages) + ids, and every answer is learned once behind the prompt "
            "that it was given to, under the templates and special tokens of SmolLM2/3, Llama 2/3.x, Qwen2.5/3/3.5, "
            "Gemma 3, Phi-3, Mistral, OLMo 2, GLM-4, DeepSeek distill, Cohere and gpt-oss; prompts equal what the "
            "template writes. From every kind of row the ids that are scored and learned are the prompt's and those "
            "that were drawn, not the text's: rejection sampling, Ghost Attention, reward models, DPO, evaluation",
            "templates that write an empty block of thoughts, name a channel, open a block, or rewrite earlier turns; "
            "and a text has many encodings, its own is rarely the one that was drawn",
        ),
        Row(
            "a turn that ends with another token than eos",
            "sampling stops at the template's own end, at eos, and at every end that generation_config.json names; "
            "what is learned is the one that was said, or the template's",
            "Gemma ends turns with `<end_of_turn>` where eos is `<eos>`; Phi-3, GLM-4 and Qwen's base models alike",
        ),
        Row(
            "ordinary added tokens taken for the format",
            "formatting ids are special tokens and marks of roles alone; people's text encodes to none of them, and "
            "holds `</think>`, Gemma's runs of line ends and digits as the tokenizer has them",
            "Gemma 3 has 6,405 added tokens that are words, blanks and tags",
        ),
        Row(
            "a cut answer is learned as a finished one",
            "an end of turn is read and learned exactly where the model said it; what was cut is left out of picks and "
            "of Ghost Attention, and counted",
            "rendering text appends the template's end to whatever was cut at the length limit",
        ),
        Row("labels shifted once too often", "loss equals a hand-computed NLL on a 5-token example"),
        Row(
            "rows of one kind of text",
            "rows are filled first fit in a random order: more than 95 % full, and texts of all lengths in each",
            "packing by length makes batches of one kind of text; a small Llama then never learned to copy (log)",
        ),
        Row(
            "packing leaks",
            "changing sequence A leaves B's logits unchanged, on every attention backend in use",
            "transformers 5.23 on SDPA and eager keeps packed examples apart by `position_ids` alone only with "
            "`use_cache=False`; with a cache they leak silently, 0.48 in a logit here",
        ),
        Row(
            "tokenizer opened twice gives other ids; text that looks like `<s>` becomes a control token",
            "SentencePiece and transformers agree on ids over English, Korean, code, emoji, runs of spaces, and on "
            "user text that contains `<s>` or `[INST]` (which must stay plain text)",
            "transformers opens `tokenizer.model` only with protobuf installed; without it the error speaks of "
            "tiktoken",
        ),
        Row(
            "prefix tree leaks",
            "changing response A leaves B's log-probabilities and gradients unchanged; equal to separate rows to 1e-5",
        ),
        Row("accumulation normalised per micro-batch", "gradient at 1x16 equals 8x2 with ragged lengths"),
        Row(
            "two-process training differs",
            "loss and gradient with 2 gloo processes equal 1 process on the same global batch",
        ),
        Row(
            "a spread training differs",
            "pretraining, SFT, a reward model, DPO and PPO whose weights are spread over 2 gloo processes have the "
            "losses, gradient norms, checkpoints and files of 1 process",
            "FSDP averages gradients; PPO's are a sum",
        ),
        Row(
            "a spread training that is spread in name only",
            "each of 2 processes holds half of the weights and of Adam's moments, counted in bytes; processes that "
            "have not met, and parameters that are left whole, are refused",
            "accelerate's FSDP on CPUs trains unspread copies and ends with 0",
        ),
        Row(
            "one base, spread for each role",
            "five roles on one frozen base hold each byte of it in one of 2 processes, and once; weights that are "
            "shared before and not after are refused",
            "`fully_shard` makes parts of its own of what another model has spread, and says nothing",
        ),
        Row(
            "a process leaves the others waiting",
            "processes that draw answers of unequal length from a model that is spread over them go along with each "
            "other's passes; one that stands elsewhere ends the training with an error, within a bound",
            "under FSDP `generate` hangs where one rank is done before the others, unless each goes on to the end of "
            "the longest (`synced_gpus`)",
        ),
    ),
    "Models from elsewhere": (
        Row(
            "new pieces move old ids, or change how old text is read",
            "every old id is the token that it was, old text has the ids that it had, transformers and SentencePiece "
            "agree, and a new row is the mean of old ones beside rows that stay to the bit",
        ),
        Row(
            "continued pretraining begins with fresh weights",
            "before the first step every weight is the base's, and the first loss is the base's own by hand; killed "
            "and resumed it gives the bytes of one that was not",
        ),
        Row(
            "weights that are not the model's",
            "names with a prefix, a layer or a head that is missing, a reward model in the place of a policy: refused "
            "wherever a checkpoint is opened, and named",
            "transformers draws what is missing at random and warns; the whole recipe then trains it, and ends well",
        ),
        Row(
            "a base model that cannot be right",
            "it is looked at before anything else of a run; each family works or is refused by name",
        ),
        Row(
            "an architecture without position ids",
            "packing, padding, cache, reward head and prefix trees are each read as every sequence alone, or found out",
            "linear attention and OPT read packed dialogues into each other, 2 to 7 in a logit",
        ),
        Row(
            "a tokenizer.model that transformers opens otherwise",
            "unigram models and normalisers of SentencePiece's are refused with the text on which the ids differ",
            "transformers 5 opens every tokenizer.model as BPE",
        ),
    ),
    "Data from elsewhere": (
        Row(
            "a run that is started in the browser names one bad file at a time",
            "of three bad files each is named with its line by the recipe's and by the step's deployment, and no step "
            "has begun",
        ),
        Row(
            "old text trains what is to be measured on it",
            "of a source of weight 0 no document is among the rows, all of them are held out, and the rows of the "
            "others are what they are without it",
        ),
        Row(
            "a choice on one axis counts on both",
            "of a project with two Pairwise tags each axis is given the answers to its own, and a file that does not "
            "say which stops the run",
            "the first tag's choice on both axes inverts safety wherever the helpful answer is the unsafe one",
        ),
        Row(
            "a draft is a judgement",
            "drafts, discarded answers and answers without a status are counted and are no rows, whatever they hold",
        ),
        Row(
            "what stands beside a dialogue is lost",
            "a system message, a history and thoughts beside a dialogue belong to it; weight 0, turns of tools and "
            "images refuse the row by name",
        ),
        Row(
            "a foreign record ends as something else",
            "records of every format, changed at random, end as rows, as counted refusals with file and line, or as an "
            "error that names the file",
        ),
        Row(
            "most of the data are dropped under the word done",
            "where more rows are too long, or cannot be read, than the config allows, the run stops and says how many",
        ),
        Row(
            "rows say where a file lay on this machine",
            "what is kept of a row that cannot be read names the file, not the path of the copy that was read, so that "
            "the same files give the same version everywhere",
        ),
        Row(
            "an export whose column begins with nulls does not open",
            "a data card tells each column's type, and `datasets` reads a value behind more nulls than it looks at",
            "without it datasets 5.2 takes the first 10 MB for the type of all, and stops at the first value",
        ),
    ),
    "Rewards and PPO": (
        Row(
            "a sample depends on what it is batched with",
            "the same ids are drawn in batches of 1, 2, 3, 7 and 64 responses, beside a longer prompt, and in two "
            "processes (float32)",
            "one generator for the batch: what a row draws depends on how many rows stand before it",
        ),
        Row("sampling temperature against scoring temperature", "first-epoch ratio is 1 ± 1e-4 at T = 1.3"),
        Row("top-p / top-k scores used as log-probabilities", "the PPO sampler refuses top_p < 1 or top_k > 0"),
        Row("dropout in rollout or reference", "two reference passes are equal to the bit"),
        Row(
            "sampled in one precision, scored in another",
            "in bfloat16 the first ratio is 1 and the first distance to the reference exactly 0, for whole models and "
            "for adapters",
        ),
        Row(
            "a step too small for the weights' precision",
            "in bfloat16 as many weights move at the paper's rates as in float32, in every trainer; from a base whose "
            "weights lie on bfloat16's grid the loss falls as in float32 too",
            "a weight of 0.02 in bfloat16 has its next neighbour 0.0001 away; held so, 2 % of the weights move in SFT "
            "and loss and KL look healthy",
        ),
        Row(
            "k1 / k3 confused",
            "the mean of each over samples approaches the exact KL of a 10-token categorical; k1 goes into the reward",
        ),
        Row(
            "whitening over padding, or not centred",
            "appended padding changes nothing; the mean is 0 when centring is asked, kept when not (a large library's "
            "copy gets this wrong)",
        ),
        Row(
            "order of Llama 2's reward",
            "sigmoid → choose safety / helpfulness at 0.15 → logit → whiten → minus kl_coef·KL, on fixed numbers by "
            "hand",
        ),
        Row("logit of a score of 0 or 1", "finite: work with the raw score, not with the sigmoid of it"),
        Row(
            "GAE past the end",
            "values at padding do not change real advantages; lambda = 1 gives returns; lambda = 0 gives TD errors",
        ),
        Row(
            "reward on the wrong position, truncated responses",
            "the score lands on the last real token; a truncated response is treated as the config says, once",
        ),
        Row(
            "value head start",
            "initial values are 0 or the reward model's, as configured; value clip on hand numbers",
        ),
        Row("reference drifts", "its hash is the same after training; adapters off gives the SFT logits"),
        Row(
            "a merged adapter",
            "sampling from the copy and reading at once give the model's logits (2e-5), the adapter's among them; all "
            "weights are the same to the bit after",
            "implementations that merge into the base and subtract again leave it a rounding away from what it was",
        ),
        Row(
            "a gradient by hand",
            "logits and the gradients of all weights are those of the layers (1e-4), with activations computed again "
            "too, and of the weights as they are at that moment; numbers by hand; every trainer ends where it ends "
            "with torch's layers",
            "a copy of weights that was packed before a step answers for the model of before it",
        ),
        Row("margin", "margin 0 equals the plain loss; four ratings are ordered; unknown ratings are refused"),
        Row(
            "safety auxiliary loss",
            "its gradient lowers an unsafe response's safety score even where both are unsafe",
        ),
        Row(
            "best of all iterations",
            "an older iteration's response wins if its score **under the newest reward model** is higher",
        ),
        Row(
            "GAtt",
            "loss only on the last answer; the instruction stays in turn 1 only; assistant tokens of earlier turns "
            "have zero loss",
        ),
        Row(
            "the temperature of another round",
            "with `auto` the temperature is that whose best of as many answers as are drawn has the highest mean "
            "reward, on validation prompts answered by this round's policy; the curve is kept with its intervals",
            "the best temperature moves with each round",
        ),
        Row(
            "a choice mixes scores of two versions of a reward model, or an earlier choice is lost",
            "a prompt with new candidates is scored with all its earlier ones; of the others those are scored whole "
            "that `rejection.score_again` has room for, and the rest keep the pick that they had; where there is room "
            "for all, every pick is the best over all iterations under the newest models",
            "scores of two versions do not compare, and scoring all of all iterations again grows with their square",
        ),
        Row(
            "context distillation of every answer",
            "an answer behind a safety pre-prompt is learned exactly where the safety model scores it higher than the "
            "answer without one, and where it came to its end",
            "learned everywhere it teaches to refuse what only sounds dangerous",
        ),
        Row(
            "the pre-prompt stays in what is scored or learned",
            "both answers are scored as answers to the bare prompt, and what is learned are the prompt's ids and those "
            "that were drawn behind the pre-prompt",
        ),
        Row(
            "own answers to what is held out",
            "the base model's own answers are to ordinary prompts to train on; the last answer of each is learned, as "
            "the very ids that were drawn",
            "answers to held-out prompts make evaluations of what was seen",
        ),
        Row(
            "over-optimisation unseen",
            "a reward model that training never sees is reported beside the one that is optimised",
            "beside it stands the annotator's own score of held-out answers, where there is an annotator; both are "
            "measured at each of PPO's looks, against KL",
        ),
        Row(
            "policies compared by reward models of several iterations",
            "rewards of all policies are of one pair of reward models, the newest, in bins that are the same for all",
            "a ranking loss leaves each model a level of its own",
        ),
        Row(
            "a run that diverges goes on",
            "NaN or infinite loss, KL over its limit, entropy collapse: the step stops with a clear error, the last "
            "good checkpoint is kept",
        ),
    ),
    "What people are shown": (
        Row(
            "saved chats",
            "no judgement of a chat is saved under a name that may not judge, or where any prompt of its dialogue is "
            "held out for evaluation, a system message before it or not",
        ),
        Row(
            "a report whose numbers are not the catalog's",
            "every number of a report's tables, plots and dialogues says what it is the value of, and is what a query "
            "of its own answers to that; wins, ties and losses make the recorded win rate",
        ),
        Row(
            "answers to the same prompts compared as if to others",
            "the interval of a difference is of pairs: what is hard for both sides does not widen it, the other way "
            "round it has the other sign, and its value is the difference of the recorded figures",
        ),
        Row(
            "a model's text is markup on a page",
            "no text of a store, its prompts, answers, names, reasons, configs and environment among them, becomes an "
            "element or an attribute of a report; control characters are shown and not obeyed",
        ),
    ),
    "Evaluation": (
        Row(
            "a figure without its interval",
            "rates have Wilson's interval, means and win rates with ties the paired bootstrap's, equal to those of "
            "statsmodels and scipy; number, interval and judge come with the figure through worker, journal, catalog "
            "and exports, and what is of less than 30 items or no better than chance is marked",
            "1.00 on one pair lies between .21 and 1",
        ),
        Row(
            "a reward model that is surer than it is right",
            "the probability of the preferred answer is held against what people said: the expected calibration error "
            "by hand, equal to one from a histogram of numpy, with an interval that holds the true "
            "error of a calibrated and of a vain model, and tells them apart",
            "an error of .1 on 50 pairs is what chance makes",
        ),
        Row(
            "a test set of reward models that they have learned",
            "prompts, demonstrations, pairs and longer dialogues with a text of a test set are refused by name; what "
            "any pair trains on all the same is left out of the test and counted",
        ),
        Row(
            "the rate of one policy with another's answers in it",
            "what is asked of the answers of a policy by name is a rate of its own, and the difference is taken prompt "
            "by prompt where both are known, by hand; the side on which an answer was shown decides whose label it is",
        ),
        Row(
            "a rate over prompts of several kinds as if they were one",
            "rates by category and by the number of turns are of their prompts alone, by hand; what a set of "
            "borderline prompts labels unsafe is refused by name",
            "200 of the 450 prompts of XSTest are contrasts, which are to be refused",
        ),
        Row(
            "an instruction that is kept because the judge says so",
            "each answer is looked at by the instruction's own check: words, script, case and length by hand; a policy "
            "that remembers two turns keeps two, by turn and group, and all with a reminder",
        ),
        Row(
            "a judge that goes by the place",
            "a judge of evaluations is shown two answers in both orders; only what it says in both is a win or a loss, "
            "the rest is a tie and counted, and figures bear the judge's name",
            "A in both orders, however sure, is ½",
        ),
        Row(
            "an evaluation by a judge that training has seen",
            "judges of evaluations read questions on held-out answers alone; no step reads what they say, and naming "
            "one changes no other step's fingerprint",
        ),
        Row(
            "people who could tell which policy answered",
            "which of two answers is A is drawn for each pair, by halves; batch, pair and page name neither policy nor "
            "iteration, and the order that was shown stands in the judgement",
        ),
        Row(
            "opinions counted for the answer that stood on the other side",
            "the same opinion of a pair that was shown the other way round gives the same outcome, violation and "
            "refusal; an opinion on other answers than the question's stops the step",
        ),
        Row(
            "a classifier that is measured on what it learned",
            "the safety classifier is measured on responses to prompts that are held out by their text, both labels "
            "weighing the same, and marked where it is no better than chance",
            "who says «safe» of 90 safe and 10 unsafe ones has ½",
        ),
        Row(
            "evaluation items in the training data",
            "a token is contaminated if it is in a run of at least 10 equal tokens that goes on over at most 4 unequal "
            "ones, as a slow search by the definition finds it; planted items are found whole, with 4 tokens changed "
            "in 95 of 100, and under 1 of 100 unrelated ones is touched; Z is that of Llama 2's table 51",
            "a match of one n-gram in a boilerplate opening counts for the whole item, or a hash stands for the tokens",
        ),
        Row(
            "a program that a model wrote does harm",
            "a loop without end, 10 GB, forks without end, a connection, reading and writing outside and a look at the "
            "environment all end in the sandbox, by bubblewrap and by namespaces; nothing of it is left on the host",
        ),
        Row(
            "a program that ends before its tests passes",
            "sys.exit(0), os._exit(0) and SystemExit before the tests do not pass",
        ),
        Row(
            "benchmarks that cannot be run",
            "a record that cannot be read stops the run before anything is trained, with file and line",
            "harnesses load their tasks once the model is trained",
        ),
        Row(
            "a choice loses the blank that answers begin with",
            "what is scored of a choice are the ids that the template gives it as an answer, in six chat formats",
            "lm-evaluation-harness strips it with apply_chat_template: .52 in place of .75 for a demo policy",
        ),
        Row(
            "log-probabilities of choices are not the harness's",
            "they are those of lm-evaluation-harness's HFLM on the same checkpoint and tokens to 1e-4",
        ),
        Row("pass@k is biased", "it is the share of all ways to take k of n programs that hold a correct one"),
    ),
    "Resume and rerun": (
        Row(
            "resume quietly does nothing, or skips data",
            "4 steps = 2 + kill -9 + 2, equal to the bit, for every trainer, also at an epoch's end",
        ),
        Row("a flag for resume is ignored", "the step log says from which step it resumed, and the test reads it"),
        Row("rerun recomputes what is valid", "a second run of a finished config trains nothing and takes seconds"),
        Row(
            "rerun reuses what is stale",
            "a changed config, input, seed or step version computes anew, and everything after it is stale",
        ),
        Row("stale stops at the next iteration", "a change in V2 marks V3 … Vn"),
        Row(
            "a dry run that says other than the run does",
            "what `halter run --plan` takes up is taken up, what it computes is all that the run computes, also where "
            "an old result becomes the head again, content is gone, or a gate or people stop the run",
        ),
        Row(
            "a variant's shared steps lose what made them",
            "a step that another variant has computed comes with its id, record, curves and code, is computed once "
            "over a study that was killed, and the store that it comes from stays as it was",
        ),
        Row(
            "costs of another model than the one that runs",
            "parameters are those of the model that is built and of the published ones, operations those that torch "
            "counts",
        ),
        Row(
            "a speed that holds the warm-up, and a share of a machine that nobody measured",
            "tokens per second leave the first tenth and checkpoints out; the operations of a token are 6N + 12LHQT by "
            "hand, and they are held against the maker's figure or one that is measured here",
        ),
        Row(
            "a run that cannot be right is found after hours",
            "lengths beyond the context, adapters for layers that are not there and heads that do not share the width "
            "are refused by the name of the field before a weight is read",
        ),
        Row(
            "a dry run of another model",
            "Llama 2 7B and 70B and Llama 3 8B, built without weights, have 6,738,415,616, 68,976,648,192 and "
            "8,030,261,248 parameters",
        ),
        Row(
            "a dry run that tells of other files",
            "names and bytes of the files of a checkpoint, told without weights, are those of files that were written, "
            "in every family, in one file and in several, with adapters and with a scalar head",
            "mixtures of experts in several files are not told",
        ),
        Row(
            "costs that the paper's own figures contradict",
            "hours and tonnes of CO2 of Llama 2 at 7B, 13B, 34B and 70B follow from the formulas and the defaults",
        ),
        Row(
            "a slow machine that cannot be told from a busy one",
            "each attempt of a step keeps the processor seconds of all its processes, and the plan is held to these",
            "the tokens that are planned to be drawn are those that the sampler draws",
        ),
        Row(
            "an interval that is not one of the mean over seeds",
            "Student's t by hand for two and three seeds, each point of t against its density; one seed has none",
        ),
        Row(
            "which documents stay depends on the memory of the filter",
            "320 characters at once and a whole corpus give the same rows, and 60 MB of files go through a process "
            "that may hold little more than 15 MB take",
        ),
        Row(
            "the number of processes makes another version of the corpus",
            "the plans of a run without filter.processes and with 3 have the same recipe of every step, and the filter "
            "alone is told",
        ),
        Row(
            "a document that repeats one which another process judges is kept",
            "three processes judge a document each, and the copy, the shouted copy and the near copy go with the first "
            "one's name; of documents of every reason rows, order, counts and examples are those of one process",
        ),
        Row(
            "Ctrl-C is taken for a failure, and the next run begins",
            "a signal in the middle of a query of DuckDB arrives as KeyboardInterrupt, and the next query is answered",
        ),
        Row(
            "a law of losses is drawn where none holds",
            "losses that halve have the exponent .5 by hand; what rises, is level or goes up and down has no law",
        ),
        Row(
            "all that was read of a Parquet file is held until its end",
            "of 24 MB that no compression makes less, read a few rows at a time, less than 8 are held",
        ),
        Row(
            "the logits of a pass outgrow the memory",
            "2 ** 26 logits by hand: so many rows of like length are read together, and fewer of a large vocabulary",
        ),
        Row(
            "rows that do not fit into memory come in another order, or twice, or not at all",
            "300 rows held one at a time, a few at a time and all at once come in the order of their hashes, each "
            "once; 128 MB of rows go through the store in a process that may hold little more than 32 MB take",
        ),
        Row(
            "a chain of near duplicates loses documents that no kept one is like",
            "of 14 versions, each a word apart, exactly those stay that are less than half like every kept one before",
        ),
        Row(
            "a source is read more or less than its weight says",
            "of 100 rows anywhere each source has its share within 3, of the annealed part by its own weights; each "
            "source's rows come in order, none left out",
        ),
        Row(
            "tokens of a source are read twice in an epoch, or never",
            "77 tokens of seven documents are read once an epoch, whole and in another order each time; a row may end "
            "one epoch and begin the next",
        ),
        Row(
            "a quality classifier that has learned its sources",
            "each source is held out with each of the other side; where sides share nothing, held-out sources are not "
            "told although known ones are told without a mistake, and the step refuses, with the worst one named",
        ),
        Row(
            "a training prompt that says in other words what a held-out one says",
            "training and validation prompts and demonstrations whose question, or an earlier one, has the threshold's "
            "cosine to a held-out prompt of any axis are dropped for it, by hand; none that is held out goes for them",
        ),
        Row(
            "a chain of rows that mean the same",
            "each row is compared with kept ones alone: of vectors at 0°, 20° and 40°, with a threshold of 25°, the "
            "third stays",
        ),
        Row(
            "an encoder that gives all texts one vector",
            "one with random weights is refused before a row is compared, with the language, the pairs that were drawn "
            "and what they have",
            "all-MiniLM-L6-v2 gives unrelated Korean prompts .63 in the median, 1.00 at most",
        ),
        Row(
            "an encoder whose tokenizer does not know a language",
            "letters in unknown tokens, and those cut into several, are counted for three kinds of tokenizers; a "
            "language of which it does not know a fifth is refused by name",
            "of Korean letters all-MiniLM-L6-v2 cuts all; by unrelated pairs alone it would pass",
        ),
        Row(
            "what a rule took away is counted before another rule",
            "documents and characters of each file before and after each stage, by hand; what one stage leaves is what "
            "the next is given",
        ),
        Row(
            "shares of a corpus that part of a word or one file decides",
            "pronouns and terms are whole words, of Korean beginnings of words; every third document of 300 is looked "
            "at, and one of three is the share",
        ),
        Row(
            "other numbers are taken for personal data",
            "of 60 invented persons nine in ten are found, of 60 look-alikes one in twenty",
        ),
        Row(
            "a language that the classifier does not know is kept as English",
            "34 words of a made-up language are dropped, 29 of them stay",
        ),
        Row(
            "mending an encoding changes sound text",
            "ligatures, wide letters, curly quotes, the Kelvin sign and capitals with accents stay to the letter",
        ),
        Row(
            "checkpoints fill the disk",
            "retention keeps what is referenced and the newest; never deletes a referenced file",
        ),
    ),
    "Objects in a bucket": (
        Row(
            "an object in a bucket that is overwritten, or half there",
            "a second put of anything, of nothing too, is refused and leaves what lies there; a copy that is cut short "
            "is fetched again, and one that is not what its name says is never seen",
            "A put of nothing is where a client of S3 was found to replace what was there.",
        ),
        Row(
            "an object that is taken to be stored because a copy of it is here",
            "what was deleted in the bucket is missing, whatever copies there are; publishing it puts it there anew",
        ),
        Row(
            "an acknowledged object that is lost when a process or the server dies",
            "publishers killed at ten moments, folders of copies deleted: all that was acknowledged is in the bucket "
            "and is what its name says; a run over ten deaths of the server ends with the contents of any other",
        ),
        Row(
            "a store that is switched to a place that has not all of it",
            "a move that is killed at ten moments leaves a store that verifies, wherever it lies, and goes on; damage "
            "in the new place is found before the switch",
        ),
        Row(
            "two stores in one place, where each collects what the other needs",
            "the second is refused with the names of both, before anything is put there",
        ),
    ),
    "A store on several machines": (
        Row(
            "a machine judges and answers by a journal that it has not read to its end",
            "each of two machines sees the heads that the other moved, reads them as inputs, and refuses what they "
            "rule out; both catalogs are the same after rebuilding",
        ),
        Row(
            "an event whose commit was never answered is applied twice",
            "what a leader leaves that was killed behind its commit, in the table and in the spool, is there once",
        ),
        Row(
            "sudden death of writers or of the server loses what was acknowledged",
            "ten writers of two machines and ten times the server are killed with SIGKILL: every acknowledged event is "
            "there, none twice, the chain whole, and both catalogs are what the journal says",
        ),
        Row(
            "the collector of one machine removes what another is publishing or reading",
            "each keeps the other out; who lost its lock hears of a collector that got in, and a collector that lost "
            "its lock removes nothing more",
        ),
        Row(
            "a step of another machine is taken for dead, or begun a second time",
            "it is at work for both while its lock is held, what it reads stays, and who begins it too waits",
        ),
        Row(
            "two machines do a step twice, or make something else than one",
            "two machines run the pocket recipe at the same time while a third collects: each step succeeded once, and "
            "every asset has the content that one machine gives it",
        ),
        Row(
            "a journal that is moved loses events, or goes on in two places",
            "there and back line by line; cut off at one line after the other, the same call ends at the same journal; "
            "a process that was open before writes nowhere",
        ),
        Row(
            "where a step is done changes what it makes",
            "a step done on another machine gives the metrics, curves, tables, notes and contents that it gives here, "
            "under the same fingerprint; the pocket recipe with its trainings, rejection sampling, PPO and evaluations "
            "sent to a worker makes every asset as one machine makes it",
        ),
        Row(
            "a step whose machine dies is sent again for ever, or not at all",
            "killed by SIGKILL each time, it is sent as often as the config says and then fails; each attempt is in "
            "the journal as crashed, nothing of it is a head, and one that had a checkpoint goes on from it",
        ),
        Row(
            "how many nodes train changes what they make",
            "each trainer, whole or spread, makes the bytes on two nodes that it makes on as many processes of one "
            "machine, under the same fingerprint; on two nodes of a Ray cluster as well, one of which is killed",
        ),
        Row(
            "nodes look for each other on the loopback of each",
            "two nodes in network namespaces that a cable joins and nothing else train together",
            "gloo listens where the machine's name leads, on many systems 127.0.1.1, and tells the others so",
        ),
        Row(
            "nodes go on from different states",
            "of a training that was killed the node that has the newest checkpoint gives it to the others, whichever "
            "number it has now; the end is that of one which nobody killed",
        ),
        Row(
            "a node that failed keeps the others waiting",
            "where a process of one node refuses its input or is killed, all nodes end within seconds and say why, and "
            "which",
        ),
        Row(
            "where shards are done changes what a step makes",
            "the pocket recipe with its trainings on a Ray cluster, and with the shards of rejection sampling and of "
            "the evaluations there, makes every asset as one machine makes it; responses and scores of one, three and "
            "nine shards are those of as many here",
        ),
        Row(
            "where a folder judges changes what it says",
            "a chat model's folder on this machine's disk judges in two shards on a Ray cluster, and the judgements "
            "are those of two shards here, with the same fingerprint",
        ),
        Row(
            "a lost shard costs the whole step",
            "whose worker is killed is sent again alone, as often as the config says; one that put its result before "
            "it was lost has that one result; both attempts are counted in the journal",
        ),
        Row(
            "a worker is believed what it says that it drew",
            "other numbers of responses or scores, ids outside the vocabulary, more tokens than asked for, ends that "
            "are not where they are said to be, numbers that are none and unknown keys are refused and taken away",
        ),
        Row(
            "a machine is believed what it says that it made",
            "objects that are missing, of another size or of other bytes, other outputs, none, paths that lead "
            "elsewhere and unknown keys are refused; nothing of them is published",
        ),
        Row(
            "a step is done elsewhere by other code than is recorded",
            "one edited file is refused with both hashes before the step begins",
        ),
        Row(
            "a machine trains on for a flow that is gone",
            "a step whose flow was stopped, or says nothing for as long as its lease, ends, with its processes",
        ),
        Row(
            "a server that has the weights of before answers for the new ones",
            "whole weights and adapters one after the other draw by torch's log-probabilities (1e-3); a server that "
            "kept the adapter of before is refused, before the first answer",
            "nothing that it says tells of it",
        ),
        Row(
            "a server gives log-probabilities of another temperature than it draws at",
            "those of .7, 1 and 1.3 are torch's at .7, 1 and 1.3",
        ),
        Row(
            "PPO learns from another engine's log-probabilities",
            "the trainer reads every answer itself, the two are held against each other in each batch, and beyond what "
            "rounding makes each token counts by its truncated weight; other weights end the step",
            "the first ratio is then not 1, and the engine's rounding is learned from as if it were the policy's",
        ),
        Row(
            "a server's answer is taken as it comes",
            "ids outside of the vocabulary, more or fewer tokens than were asked for, another prompt, an end that is "
            "none, log-probabilities that are missing or not finite, answers without end: refused",
        ),
        Row(
            "a server outlives the step that started it",
            "killed by SIGKILL, a step takes its server with all its processes along",
        ),
        Row(
            "an answer depends on what a server is asked beside it",
            "each response has a seed of its own: alone and among others it is the same, at another place another one",
        ),
        Row(
            "a server is asked because a stranger's folder names it",
            "import, restore, repair, verify and backup refuse a folder whose places.json names a server",
        ),
    ),
}

NOT_YET_COVERED: frozenset[str] = frozenset()
"""The only rows that may stand without a test. A row that has one must be taken out."""


def files_with_tests() -> list[str]:
    """Every test file, relative to the root of the repository."""
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("test_*.py"))


def functions_of(file: str) -> dict[str, ast.FunctionDef]:
    """The tests of one file by name."""
    return {
        node.name: node
        for node in _tree(file).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def proofs() -> Iterator[Proof]:
    """Every conformance mark in the tests, in the order of files and lines.

    Raises ValueError for a mark that names no row, or is written in another form than the module's docstring shows.
    """
    known = {row.trap for rows in SECTIONS.values() for row in rows}
    for file in files_with_tests():
        for name, function in functions_of(file).items():
            for decorator in function.decorator_list:
                if not (isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.conformance"):
                    continue
                place = f"{file}:{decorator.lineno}"
                try:
                    (trap,) = map(ast.literal_eval, decorator.args)
                    ((key, equation),) = ((each.arg, ast.literal_eval(each.value)) for each in decorator.keywords)
                except ValueError as error:
                    raise ValueError(f'{place}: write conformance("<trap>", equation="module:function")') from error
                if key != "equation" or trap not in known:
                    raise ValueError(f"{place}: {key}={equation!r} for {trap!r}, which is no row of {Path(__file__)}")
                yield Proof(trap, file, name, function.lineno, equation)


def equation_place(equation: str) -> tuple[str, int]:
    """File and line of "module:function" or "module:Class.method". Raises ValueError where there is none."""
    module, _, path = equation.partition(":")
    file = module.replace(".", "/") + ".py"
    if not (ROOT / file).is_file():
        raise ValueError(f"equation {equation!r}: there is no {file}")
    body: list[ast.stmt] = _tree(file).body
    line = 0
    for name in path.split("."):
        found = [node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name]
        if len(found) != 1:
            raise ValueError(f"equation {equation!r}: {file} has {len(found)} definitions of {name}")
        body, line = found[0].body, found[0].lineno
    return file, line


def missing() -> set[str]:
    """Rows that no test proves."""
    return {row.trap for rows in SECTIONS.values() for row in rows} - {proof.trap for proof in proofs()}


def page() -> str:
    """The whole text of docs/conformance.md."""
    by_trap: dict[str, list[Proof]] = {}
    for proof in proofs():
        by_trap.setdefault(proof.trap, []).append(proof)
    rows = [row for section in SECTIONS.values() for row in section]
    covered = sum(row.trap in by_trap for row in rows)
    lines = [
        "# Conformance",
        "",
        f"<!-- Written by `{COMMAND}`. Do not edit. -->",
        "",
        "Traps that implementations of RLHF are known to fall into, and the tests that prove that Halter does not. "
        f"{covered} of {len(rows)} rows have a test, {len({(p.file, p.test) for p in proofs()})} tests in all; "
        f"{len(MUTATIONS)} mutations break the code on purpose, and each must be caught.",
        "",
        "Rows about tensors are proven on a random Llama with multi-head and one with grouped-query attention, in "
        "float32.",
    ]
    for title, section in SECTIONS.items():
        lines += ["", f"## {title}"]
        for row in section:
            lines += ["", f"### {row.trap[0].upper()}{row.trap[1:]}", "", f"Proof: {row.proof}."]
            if row.note:
                lines += ["", f"Note: {row.note}."]
            lines += ["", *_proven(by_trap.get(row.trap, []))]
    lines += [
        "",
        "## Mutations",
        "",
        "Each row breaks one line of the code. `python -m tests.mutations` makes the change in a copy of the "
        "repository and runs the tests named beside it: all of them must fail.",
        "",
        "| what is broken | where | caught by |",
        "|---|---|---|",
    ]
    for mutation in MUTATIONS:
        caught = "<br>".join(f"`{test.replace('::', '` `')}`" for test in mutation.tests)
        lines.append(f"| {mutation.breaks} | {_link(mutation.file, mutation.line(ROOT))} | {caught} |")
    return "\n".join(lines) + "\n"


def _proven(found: list[Proof]) -> list[str]:
    """The lines about one row: equations first, then tests."""
    if not found:
        return ["**Not yet covered.**"]
    equations = list(dict.fromkeys(proof.equation for proof in found))
    return [
        *(f"- equation `{equation.partition(':')[2]}`: {_link(*equation_place(equation))}" for equation in equations),
        *(f"- {_link(proof.file, proof.line)} `{proof.test}`" for proof in found),
    ]


def _link(file: str, line: int) -> str:
    return f"[{file}:{line}](../{file}#L{line})"


@lru_cache(maxsize=512)
def _tree(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}; without it, print it")
    if parser.parse_args().write:
        PAGE.write_text(page())
    else:
        sys.stdout.write(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
