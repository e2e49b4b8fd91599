"""The config of every step by its name, also of those that today's plan has no place for."""

from collections.abc import Mapping

from pydantic import BaseModel

from tasks.collect_preferences import collect_preferences
from tasks.dpo import dpo
from tasks.draw_pairs import draw_pairs
from tasks.evaluate import evaluate, evaluate_sampled
from tasks.extend_prompts import extend_prompts
from tasks.filter_corpus import filter_corpus
from tasks.fine_tune import fine_tune
from tasks.fit_context import fit_context
from tasks.import_data import import_data
from tasks.judge_pairs import judge_pairs
from tasks.ppo import ppo
from tasks.pretrain import pretrain
from tasks.rejection_sample import rejection_sample
from tasks.sft import sft
from tasks.step import Step
from tasks.synthesize_gatt import synthesize_gatt
from tasks.train_reward import train_gold_reward, train_helpfulness_reward, train_safety_reward
from tasks.train_tokenizer import train_tokenizer

_STEPS: tuple[Step, ...] = (
    *(import_data, filter_corpus, train_tokenizer, fit_context, pretrain, sft),
    *(extend_prompts, draw_pairs, judge_pairs, collect_preferences),
    *(train_safety_reward, train_helpfulness_reward, train_gold_reward),
    *(rejection_sample, synthesize_gatt, fine_tune, ppo, dpo, evaluate, evaluate_sampled),
)
STEP_CONFIGS: Mapping[str, type[BaseModel]] = {step.name: step.config for step in _STEPS}
