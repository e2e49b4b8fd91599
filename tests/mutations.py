"""Ways to break the equations, one place each, and the tests that must notice. `python -m tests.mutations` tries them.

The file is long because it is a list.
"""

import argparse
import sys
import time

from tests.mutation_run import Mutation, tests_that_survive

LOGPROBS = "tests/models/algorithms/test_logprobs.py::"
KL = "tests/models/algorithms/test_kl.py::"
GAE = "tests/models/algorithms/test_gae.py::"
PPO_LOSS = "tests/models/algorithms/test_ppo.py::"
COMBINED = "tests/models/algorithms/test_reward.py::"
RANKING = "tests/models/algorithms/test_ranking.py::"
DPO = "tests/models/algorithms/test_dpo.py::"
GATT = "tests/models/algorithms/test_gatt.py::"
SELECTION = "tests/models/algorithms/test_selection.py::"
AGREEMENT = "tests/models/algorithms/test_agreement.py::"
SAMPLING = "tests/tasks/test_answers.py::"
CUT = "tests/tasks/test_cut_answers.py::"
SCORING = "tests/models/test_scoring.py::"
GENERATION = "tests/models/test_generation.py::"
COPY = "tests/models/test_working_copy.py::"
LEARNING = "tests/models/test_learning_pass.py::"
RESPONSES = "tests/models/test_responses.py::"
STREAMING = "tests/models/test_streaming.py::"
TALKED = "tests/data_store/annotation/test_chat.py::"
LAST_LAYER = "tests/models/test_last_layer.py::"
WHOLE_PASS = "test_hidden_states_and_gradients_are_those_of_a_whole_pass"
NEXT_TOKEN = "tests/models/training/test_next_token.py::"
KERNEL = "tests/models/training/test_kernel.py::"
PACKING = "tests/models/training/test_packing.py::"
DIALOGUE = "tests/models/test_dialogue.py::"
TEXT = "tests/models/test_text_encoder.py::"
CHAT = "tests/models/test_chat_families.py::"
TREE = "tests/models/test_prefix_tree.py::"
SFT = "tests/models/training/test_sft.py::"
PRETRAIN = "tests/models/training/test_pretrain.py::"
REWARD = "tests/models/training/test_reward.py::"
PPO = "tests/models/training/test_ppo.py::"
POLICY_SERVER = "tests/models/training/test_policy_server.py::"
PPO_SHARDED = "tests/models/training/test_ppo_sharded.py::"
ROLLOUTS = "tests/models/training/test_ppo_by_hand.py::"
PPO_TWO_PROCESSES = (
    "tests/models/training/test_ppo_two_processes.py::"
    "test_two_processes_give_the_rollouts_losses_gradients_and_weights_of_one"
)
ONE_BASE = "tests/models/training/test_ppo_on_one_base.py::"
ROLES = "tests/models/test_roles.py::"
DIVERGENCE = "tests/models/training/test_divergence.py::"
TWO_PROCESSES = "tests/models/training/test_two_processes.py::"
TRL = "tests/models/training/test_trl_agreement.py::"
ROUNDING = "tests/models/test_rounding.py::"
PRECISION = "tests/models/training/test_precision.py::"
AS_MANY = "test_in_bfloat16_as_many_weights_move_at_the_papers_rates_and_the_loss_is_the_same"
IN_PRECISION = "test_the_products_are_in_the_configs_precision_and_what_is_trained_is_held_and_saved_in_float32"
FIRST_RATIO = "test_in_bfloat16_the_first_ratio_is_one_and_the_first_distance_to_the_reference_exactly_zero"
AGAIN = "test_with_gradient_checkpointing_layers_are_computed_again_and_the_weights_come_out_the_same"
DEVICES = "tests/tasks/test_devices.py::test_no_forward_pass_of_a_step_runs_elsewhere_than_on_the_device_of_the_process"
PLAIN = "tests/models/test_plain_libraries.py::"
ALIKE = "test_a_reward_model_scores_alike_here_and_in_plain_libraries_alone_and_in_padded_batches"
AS_ONE = "test_processes_and_passes_learn_what_one_process_in_one_pass_learns"
FAMILIES = "tests/models/base_checks/test_families.py::"
BUCKET = "tests/data_store/content/test_bucket_objects.py::"
ELSEWHERE = "tests/tasks/engine/test_remote.py::"
NODES = "tests/models/training/test_nodes.py::"
MEETING = "tests/models/training/test_meeting.py::"
SPREAD = "tests/tasks/engine/on_ray/test_spread.py::"
RESOURCES = "tests/flows/test_resources.py::"
MOVING = "tests/data_store/upkeep/test_moving_objects.py::"
INTERVALS = "tests/models/algorithms/test_intervals.py::"
LOADING = "tests/models/test_loading_report.py::"
CONTINUATIONS = "tests/models/test_continuations.py::"
BENCHMARKED = "tests/tasks/test_run_benchmarks.py::"
SANDBOX = "tests/tasks/sandbox/test_sandbox.py::"
RELIABILITY = "tests/models/algorithms/test_reliability.py::"
MEASURED = "tests/tasks/test_measure_reward_models.py::"
CORPUS = "tests/data_store/corpus/test_filtering.py::"
SIDE_BY_SIDE = "tests/data_store/corpus/test_side_by_side.py::"
LANGUAGE = "tests/data_store/corpus/test_language.py::"
PERSONAL = "tests/data_store/corpus/test_personal_data.py::"
TABLE = "tests/data_store/catalog/test_journal_table.py::"
MOVING_JOURNAL = "tests/data_store/upkeep/test_moving_journal.py::"
PASS_AT_K = "tests/models/algorithms/test_pass_at_k.py::"
OVERLAP = "tests/models/algorithms/test_overlap.py::"
CONTAMINATION = "tests/models/algorithms/test_contamination.py::"
BY_DEFINITION = OVERLAP + "test_what_is_found_is_what_the_definition_finds_pair_by_pair"
EXTENSION = "tests/models/test_vocabulary_extension.py::"
SOURCES = "tests/tasks/test_pretrain_sources.py::"
PULSE = "tests/models/training/test_pulse.py::"
COSTS = "tests/models/test_costs.py::"
SHARING = "tests/data_store/incoming/test_sharing.py::"
WITH_ITS_RECORD = (
    "test_a_run_comes_with_its_record_its_curves_and_its_content_and_lineage_is_said_in_words_of_this_store"
)
RESULTS = "tests/flows/study/test_results.py::"
DIFFERENCES = "tests/flows/shown/test_differences.py::"
HOSTILE = "tests/flows/shown/report/test_hostile.py::"
QUALITY = "tests/data_store/corpus/test_quality.py::"
TRAINED = "tests/tasks/test_train_quality_classifier.py::"
LEFT_OUT = "tests/models/test_held_out_sources.py::"
CLASSIFIER = "tests/tasks/test_train_safety_classifier.py::"
ASKING = "tests/tasks/judging/test_of_answers.py::"
TOOLS = "tests/data_store/reading/test_annotation_tools.py::"
JUDGEMENTS = "tests/tasks/judging/test_judgements.py::"
CONTEXT = "tests/models/algorithms/test_context_distillation.py::"
TUNING = "tests/tasks/test_temperature_tuning.py::test_"
OWN = "tests/tasks/test_own_answers.py::"
MEANING = "tests/tasks/test_drop_similar.py::"
DISTILLED = "tests/tasks/test_distill_context.py::"
PEOPLE = "tests/tasks/judging/test_by_people.py::"
SERVED = "tests/models/samplers/test_served.py::"
COMPLETIONS = "tests/models/samplers/test_completions.py::"
FIVE_TOKENS = "test_the_loss_of_five_tokens_is_the_nll_by_hand"

MUTATIONS: tuple[Mutation, ...] = (
    # models/training/ppo_looks.py, tasks/evaluations/over_optimisation.py and reward_shift.py
    # models/training/pulse.py, models/costs.py
    Mutation(
        "the writing of checkpoints slows a training down",
        "models/training/pulse.py",
        """        \"\"\"A checkpoint is written: what passed since the last step belongs to none.\"\"\"
        self._last = now""",
        """        \"\"\"A checkpoint is written: what passed since the last step belongs to none.\"\"\"
        self._last = self._last""",
        (PULSE + "test_neither_the_first_tenth_nor_the_writing_of_checkpoints_counts_in_the_speed",),
    ),
    Mutation(
        "going on from a base model begins anew",
        "models/training/pretrain.py",
        "model = load_policy(start, trainable=True, dtype=config.dtype)",
        "model = load_policy(start, trainable=True, dtype=config.dtype)\n"
        "        for weights in model.parameters():\n            nn.init.normal_(weights, std=0.02)",
        (PRETRAIN + "test_going_on_begins_with_the_weights_of_the_base_and_its_loss",),
    ),
    Mutation(
        "new pieces merge before the old ones",
        "models/vocabulary_extension.py",
        "score=lowest - number",
        "score=1e6 - number",
        (EXTENSION + "test_a_new_piece_does_not_cut_two_old_ones_that_it_lies_across",),
    ),
    Mutation(
        "a new piece begins as one of the old pieces that it was",
        "models/vocabulary_extension.py",
        "weight[number] = weight[parts].mean(0)",
        "weight[number] = weight[parts[-1]]",
        (EXTENSION + "test_a_new_row_is_the_mean_of_the_rows_of_the_old_pieces_and_old_rows_stay",),
    ),
    Mutation(
        "a source of weight 0 is trained on like the others",
        "tasks/pretrain_sources.py",
        "count if not source.weight else math.ceil(count * mix.heldout_percent / 100) if count > 1 else 0",
        "math.ceil(count * mix.heldout_percent / 100) if count > 1 else 0",
        (SOURCES + "test_nothing_trains_on_a_source_of_weight_0_and_all_of_it_is_held_out",),
    ),
    Mutation(
        "attention is left out of the operations of a token",
        "models/costs.py",
        "return 6 * (parameters(shape) - looked_up) + attention",
        "return 6 * (parameters(shape) - looked_up) + 0 * attention",
        (COSTS + "test_the_operations_of_a_token_by_hand_after_palm",),
    ),
    Mutation(
        "padding counts in the KL of a look",
        "models/training/ppo_looks.py",
        "kl = (kl_k1(logprobs, ref_logprobs) * mask).sum(1).tolist()",
        "kl = kl_k1(logprobs, ref_logprobs).sum(1).tolist()",
        ("tests/models/training/test_ppo_looks.py::test_a_look_keeps_the_real_tokens_and_the_sum_of_their_log_ratios",),
    ),
    Mutation(
        "gains the other way round",
        "tasks/evaluations/over_optimisation.py",
        "[last[key] - first[key] for key in sorted(first)]",
        "[first[key] - last[key] for key in sorted(first)]",
        (
            "tests/tasks/evaluations/test_over_optimisation.py::"
            "test_a_reward_that_rises_while_the_annotators_score_falls_is_seen",
        ),
    ),
    Mutation(
        "a value on an edge falls into the bin below",
        "tasks/evaluations/reward_shift.py",
        "return sum(value >= edge for edge in edges[1:-1])",
        "return sum(value > edge for edge in edges[1:-1])",
        (
            "tests/tasks/evaluations/test_reward_shift.py::"
            "test_bins_are_equally_wide_from_the_least_to_the_highest_and_the_outer_ones_hold_what_lies_beyond",
        ),
    ),
    # models/algorithms/selection.py and tasks/temperature_tuning.py: temperatures: auto
    Mutation(
        "the worst temperature is taken",
        "models/algorithms/selection.py",
        "key=lambda i: (-means[i], i))[:2]",
        "key=lambda i: (means[i], i))[:2]",
        (
            SELECTION + "test_the_best_setting_has_the_highest_mean_and_the_runner_up_the_next",
            TUNING + "the_temperature_is_that_of_the_highest_best_of_n_and_all_candidates_are_drawn_at_it",
        ),
    ),
    Mutation(
        "the temperature is tuned on the prompts that are trained on",
        "tasks/temperature_tuning.py",
        'if row["split"] == "validation"]',
        'if row["split"] == "train"]',
        (TUNING + "it_is_found_on_validation_prompts_alone",),
    ),
    # models/algorithms/context_distillation.py, tasks/distill_context.py
    Mutation(
        "an equal score counts as a rise",
        "models/algorithms/context_distillation.py",
        "if after > before]",
        "if after >= before]",
        (CONTEXT + "test_only_a_higher_score_is_a_rise",),
    ),
    Mutation(
        "distilled answers are learned whatever they score",
        "tasks/distill_context.py",
        "fate = NO_RISE if i not in rising else",
        "fate = NO_RISE if i < 0 else",
        (DISTILLED + "test_exactly_those_answers_are_learned_whose_score_rose_and_that_came_to_their_end",),
    ),
    Mutation(
        "the pre-prompt is forgotten when answers are drawn",
        "tasks/distill_context.py",
        'behind = [preprompts.before(row["messages"], text) for row, text in asked]',
        'behind = [row["messages"] for row, text in asked]',
        (DISTILLED + "test_the_answers_are_drawn_behind_the_preprompt",),
    ),
    Mutation(
        "the pre-prompt stays in what is scored",
        "tasks/distill_context.py",
        'pairs = [(row["messages"], each) for (row, _), group',
        'pairs = [(preprompts.before(row["messages"], _), each) for (row, _), group',
        (
            DISTILLED
            + "test_what_is_scored_and_learned_is_the_prompt_without_the_preprompt_and_the_very_ids_that_were_drawn",
        ),
    ),
    # tasks/own_answers.py, tasks/answers.py, tasks/import_data.py
    Mutation(
        "own answers to held-out prompts are learned",
        "tasks/own_answers.py",
        'if row["split"] == "train" and row["axis"] == "helpfulness"]',
        'if row["axis"] == "helpfulness"]',
        (OWN + "test_ordinary_prompts_to_train_on_that_have_room_are_answered_each_once",),
    ),
    Mutation(
        "of an own answer the turns before it are learned too",
        "tasks/answers.py",
        "[False] * before + whole.loss_mask[before:]",
        "whole.loss_mask",
        (OWN + "test_of_a_drawn_answer_the_very_ids_are_learned_and_of_a_written_dialogue_every_answer",),
    ),
    Mutation(
        "prompts of pairs are taken on an axis that has its own",
        "tasks/import_data.py",
        'if pair["axis"] not in axes or pair["prompt_id"] in found',
        'if pair["prompt_id"] in found',
        (
            "tests/tasks/test_import_data.py::"
            "test_where_one_axis_alone_has_prompts_of_its_own_those_of_the_other_are_its_pairs",
        ),
    ),
    # models/algorithms/distinct.py, tasks/compared_meanings.py, tasks/drop_similar.py, tasks/known_languages.py
    Mutation(
        "a row is compared with dropped ones, too",
        "models/algorithms/distinct.py",
        "                if column in places:\n",
        "                if places.setdefault(column, 0) is not None:\n",
        (
            "tests/models/algorithms/test_distinct.py::"
            "test_each_is_compared_with_kept_ones_alone_so_that_no_chain_is_dropped",
        ),
    ),
    Mutation(
        "what means the same as a held-out prompt is trained on",
        "tasks/compared_meanings.py",
        "        if not is_held_out:\n            self._drop_leaks(names, vectors, owners)\n",
        "",
        (MEANING + "test_nothing_trains_on_what_means_the_same_as_a_held_out_prompt_and_no_held_out_one_goes_for_it",),
    ),
    Mutation(
        "an earlier question of a demonstration is not held against held-out prompts",
        "tasks/compared_meanings.py",
        "for place, row in enumerate(rows) for text in asked_in(row)]",
        "for place, row in enumerate(rows) for text in asked_in(row)[-1:]]",
        (MEANING + "test_nothing_trains_on_what_means_the_same_as_a_held_out_prompt_and_no_held_out_one_goes_for_it",),
    ),
    Mutation(
        "a held-out prompt is dropped for a training one",
        "tasks/drop_similar.py",
        '_SPLITS = ("heldout", "validation", "train")',
        '_SPLITS = ("train", "validation", "heldout")',
        (MEANING + "test_nothing_trains_on_what_means_the_same_as_a_held_out_prompt_and_no_held_out_one_goes_for_it",),
    ),
    Mutation(
        "a prompt goes for one of the other axis",
        "tasks/compared_meanings.py",
        'return role, str(row.get("axis", "")), str(row["kind"]), system',
        'return role, "", str(row["kind"]), system',
        (MEANING + "test_rows_are_the_same_only_with_the_same_axis_kind_and_system_message",),
    ),
    Mutation(
        "an encoder that gives all texts one vector is believed",
        "tasks/known_languages.py",
        "    if found.share > config.max_unrelated_share:",
        "    if found.share > 1:",
        (MEANING + "test_an_encoder_that_does_not_tell_texts_apart_is_refused_with_language_figures_and_what_to_do",),
    ),
    Mutation(
        "letters that are cut into several tokens count as known",
        "models/sentence_encoder.py",
        "lost += sum(tokens[place] != 1 for place in letters)",
        "lost += sum(tokens[place] == 0 for place in letters)",
        (
            MEANING + "test_a_tokenizer_that_does_not_know_the_letters_of_a_language_is_refused",
            "tests/models/test_sentence_encoder.py::test_letters_that_are_unknown_or_cut_are_counted",
        ),
    ),
    # models/algorithms/logprobs.py
    Mutation(
        "temperature forgotten in log-probabilities",
        "models/algorithms/logprobs.py",
        "scaled = _scaled(chunk, temperature)",
        "scaled = _scaled(chunk, 1.0)",
        (
            LOGPROBS + "test_log_probability_by_hand_at_two_temperatures",
            LOGPROBS + "test_first_epoch_ratio_is_1_at_temperature_1_3_and_not_if_the_temperature_is_forgotten",
            SCORING + "test_logprobs_are_equal_alone_and_padded_on_both_sides_in_a_batch",
        ),
    ),
    Mutation(
        "temperature forgotten in the gradient of log-probabilities",
        "models/algorithms/logprobs.py",
        "weight = (grad[part] / ctx.temperature)",
        "weight = (grad[part])",
        (LOGPROBS + "test_gradients_agree_with_finite_differences",),
    ),
    Mutation(
        "gradient of log-probabilities without the softmax's part",
        "models/algorithms/logprobs.py",
        ".exp_().mul_(-weight)",
        ".exp_().mul_(0 * weight)",
        (LOGPROBS + "test_gradient_of_a_log_probability_is_one_hot_minus_probability",),
    ),
    Mutation(
        "0 · -inf in the entropy",
        "models/algorithms/logprobs.py",
        "logp.masked_fill(logp == -torch.inf, 0.0)",
        "logp",
        (
            LOGPROBS + "test_entropy_by_hand_uniform_and_certain",
            LOGPROBS + "test_entropy_gradient_is_finite_where_a_token_is_ruled_out",
        ),
    ),
    # models/algorithms/kl.py
    Mutation(
        "sign of k1",
        "models/algorithms/kl.py",
        "return logprobs - ref_logprobs",
        "return ref_logprobs - logprobs",
        (
            KL + "test_mean_of_k1_and_of_k3_approaches_the_exact_kl_of_a_10_token_categorical",
            KL + "test_k1_and_k3_by_hand_are_not_confused",
            KL + "test_k1_has_the_sign_of_the_log_ratio_and_k3_is_0_only_where_both_agree",
        ),
    ),
    Mutation(
        "ratio of k3 upside down",
        "models/algorithms/kl.py",
        "log_ratio = ref_logprobs - logprobs",
        "log_ratio = logprobs - ref_logprobs",
        (
            KL + "test_mean_of_k1_and_of_k3_approaches_the_exact_kl_of_a_10_token_categorical",
            KL + "test_k1_and_k3_by_hand_are_not_confused",
        ),
    ),
    Mutation(
        "k3 without its - log r",
        "models/algorithms/kl.py",
        "return torch.expm1(log_ratio) - log_ratio",
        "return torch.expm1(log_ratio)",
        (
            KL + "test_k3_is_never_negative",
            KL + "test_mean_of_k1_and_of_k3_approaches_the_exact_kl_of_a_10_token_categorical",
        ),
    ),
    Mutation(
        "k3 in the reward",
        "models/algorithms/kl.py",
        "penalty = -kl_coef * kl_k1(",
        "penalty = -kl_coef * kl_k3(",
        (
            KL + "test_k1_goes_into_the_reward_and_the_score_lands_on_the_last_real_token",
            ROLLOUTS + "test_rollouts_follow_from_the_equations_by_hand",
        ),
    ),
    Mutation(
        "KL is paid for instead of penalised",
        "models/algorithms/kl.py",
        "penalty = -kl_coef *",
        "penalty = kl_coef *",
        (
            KL + "test_rewards_of_a_response_add_up_to_score_minus_kl",
            COMBINED + "test_order_of_the_reward_sigmoid_choose_logit_whiten_then_kl_by_hand",
            PPO + "test_the_kl_penalty_holds_the_policy_near_its_reference",
        ),
    ),
    Mutation(
        "score on the last column instead of the last real token",
        "models/algorithms/kl.py",
        "last = torch.where(response_mask, positions, -1).amax(dim=1, keepdim=True)",
        "last = torch.full((rows, 1), length - 1)",
        (
            KL + "test_k1_goes_into_the_reward_and_the_score_lands_on_the_last_real_token",
            KL + "test_rewards_of_a_response_add_up_to_score_minus_kl",
            ROLLOUTS + "test_rollouts_follow_from_the_equations_by_hand",
        ),
    ),
    Mutation(
        "score on the first token",
        "models/algorithms/kl.py",
        "positions, -1).amax(dim=1, keepdim=True)",
        "positions, length).amin(dim=1, keepdim=True)",
        (
            KL + "test_k1_goes_into_the_reward_and_the_score_lands_on_the_last_real_token",
            ROLLOUTS + "test_rollouts_follow_from_the_equations_by_hand",
        ),
    ),
    Mutation(
        "KL penalty at padding",
        "models/algorithms/kl.py",
        "rewards = torch.where(response_mask, penalty, torch.zeros_like(penalty))",
        "rewards = penalty",
        (
            KL + "test_k1_goes_into_the_reward_and_the_score_lands_on_the_last_real_token",
            KL + "test_left_padding_moves_nothing",
        ),
    ),
    # models/algorithms/gae.py
    Mutation(
        "sign of the value in the TD error",
        "models/algorithms/gae.py",
        "next_value - values[:, t]",
        "next_value + values[:, t]",
        (
            GAE + "test_gae_by_hand",
            GAE + "test_lambda_0_gives_the_td_errors_and_0_after_the_end",
            GAE + "test_gae_is_the_discounted_sum_of_td_errors_in_float64",
        ),
    ),
    Mutation(
        "value at padding taken as the next one",
        "models/algorithms/gae.py",
        "next_value = torch.where(real, values[:, t], next_value)",
        "next_value = values[:, t]",
        (
            GAE + "test_values_at_padding_do_not_change_real_advantages",
            GAE + "test_padding_on_the_left_in_the_middle_and_on_the_right_is_the_same_as_none",
            GAE + "test_gae_is_the_discounted_sum_of_td_errors_in_float64",
        ),
    ),
    Mutation(
        "advantage carried over from padding",
        "models/algorithms/gae.py",
        "next_advantage = torch.where(real, advantage, next_advantage)",
        "next_advantage = advantage",
        (
            GAE + "test_values_at_padding_do_not_change_real_advantages",
            GAE + "test_gae_is_the_discounted_sum_of_td_errors_in_float64",
        ),
    ),
    Mutation(
        "lambda forgotten",
        "models/algorithms/gae.py",
        "delta + gamma * gae_lambda * next_advantage",
        "delta + gamma * next_advantage",
        (
            GAE + "test_gae_by_hand",
            GAE + "test_lambda_0_gives_the_td_errors_and_0_after_the_end",
            ROLLOUTS + "test_rollouts_follow_from_the_equations_by_hand",
        ),
    ),
    Mutation(
        "a value behind the last token",
        "models/algorithms/gae.py",
        "next_value, next_advantage = zero, zero",
        "next_value, next_advantage = values[:, -1], zero",
        (
            GAE + "test_gae_by_hand",
            GAE + "test_lambda_1_gives_plain_discounted_returns",
            GAE + "test_a_perfect_value_function_leaves_no_advantage",
        ),
    ),
    Mutation(
        "gradient through the advantages",
        "models/algorithms/gae.py",
        "@torch.no_grad()\ndef gae(",
        "def gae(",
        (GAE + "test_advantages_carry_no_gradient",),
    ),
    Mutation(
        "returns without the values",
        "models/algorithms/gae.py",
        "torch.where(response_mask, advantages + values,",
        "torch.where(response_mask, advantages,",
        (GAE + "test_gae_by_hand", GAE + "test_lambda_1_gives_plain_discounted_returns"),
    ),
    # models/algorithms/ppo.py
    Mutation(
        "ratio upside down",
        "models/algorithms/ppo.py",
        "torch.where(response_mask, logprobs - old_logprobs,",
        "torch.where(response_mask, old_logprobs - logprobs,",
        (
            PPO_LOSS + "test_policy_loss_by_hand_on_all_four_sides_of_the_clip",
            PPO_LOSS + "test_policy_and_value_loss_in_float64_by_hand",
            ROLLOUTS + "test_a_pass_computes_the_losses_by_hand_with_the_ranges_of_the_config",
        ),
    ),
    Mutation(
        "the better instead of the worse of clipped and plain",
        "models/algorithms/ppo.py",
        "torch.maximum(unclipped, clipped)",
        "torch.minimum(unclipped, clipped)",
        (
            PPO_LOSS + "test_policy_loss_by_hand_on_all_four_sides_of_the_clip",
            PPO_LOSS + "test_policy_loss_has_no_gradient_where_the_clip_acts",
        ),
    ),
    Mutation(
        "policy loss without its clip",
        "models/algorithms/ppo.py",
        "-advantages * ratio.clamp(1.0 - clip_range, 1.0 + clip_range)",
        "-advantages * ratio",
        (
            PPO_LOSS + "test_policy_loss_by_hand_on_all_four_sides_of_the_clip",
            PPO_LOSS + "test_policy_loss_has_no_gradient_where_the_clip_acts",
            PPO_LOSS + "test_policy_and_value_loss_in_float64_by_hand",
        ),
    ),
    Mutation(
        "sign of the policy loss",
        "models/algorithms/ppo.py",
        "unclipped = -advantages * ratio",
        "unclipped = advantages * ratio",
        (
            PPO_LOSS + "test_policy_loss_by_hand_on_all_four_sides_of_the_clip",
            PPO_LOSS + "test_at_ratio_1_the_loss_is_minus_the_mean_advantage_and_nothing_is_clipped",
        ),
    ),
    Mutation(
        "value loss without its clip",
        "models/algorithms/ppo.py",
        "error = torch.maximum(error, (clipped - returns).square())",
        "error = torch.maximum(error, error)",
        (
            PPO_LOSS + "test_value_loss_by_hand_with_and_without_clip",
            PPO_LOSS + "test_policy_and_value_loss_in_float64_by_hand",
            ROLLOUTS + "test_a_pass_computes_the_losses_by_hand_with_the_ranges_of_the_config",
        ),
    ),
    Mutation(
        "value clipped around the return instead of the old value",
        "models/algorithms/ppo.py",
        "clipped = old_values + (values - old_values).clamp(",
        "clipped = returns + (values - returns).clamp(",
        (PPO_LOSS + "test_value_loss_by_hand_with_and_without_clip",),
    ),
    Mutation(
        "value loss without its half",
        "models/algorithms/ppo.py",
        "return 0.5 * masked_mean(error,",
        "return masked_mean(error,",
        (
            PPO_LOSS + "test_value_loss_by_hand_with_and_without_clip",
            PPO + "test_the_first_losses_follow_from_the_equations_by_hand",
        ),
    ),
    Mutation(
        "padding in the masked mean",
        "models/algorithms/ppo.py",
        "return torch.where(mask, x, torch.zeros_like(x)).sum() / denominator",
        "return x.sum() / denominator",
        (
            PPO_LOSS + "test_masked_mean_by_hand_and_with_a_denominator",
            PPO_LOSS + "test_padding_never_reaches_the_losses_or_their_gradients",
        ),
    ),
    Mutation(
        "mean over all columns instead of the real tokens",
        "models/algorithms/ppo.py",
        "denominator = count",
        "denominator = mask.numel()",
        (
            PPO_LOSS + "test_masked_mean_by_hand_and_with_a_denominator",
            PPO_LOSS + "test_accumulation_with_the_batch_denominator_1x16_equals_8x2_with_ragged_lengths",
            PPO_LOSS + "test_policy_and_value_loss_in_float64_by_hand",
        ),
    ),
    Mutation(
        "NaN at padding in the value loss's gradient",
        "models/algorithms/ppo.py",
        "(torch.where(response_mask, x, zero) for x in (values, old_values, returns))",
        "(x for x in (values, old_values, returns))",
        (PPO_LOSS + "test_padding_never_reaches_the_losses_or_their_gradients",),
    ),
    Mutation(
        "the reported KL of the update the wrong way round",
        "models/algorithms/ppo.py",
        "kl_k3(torch.zeros_like(real_log_ratio), real_log_ratio)",
        "kl_k3(real_log_ratio, torch.zeros_like(real_log_ratio))",
        (PPO_LOSS + "test_policy_loss_by_hand_on_all_four_sides_of_the_clip",),
    ),
    # models/algorithms/reward.py
    Mutation(
        "whitening centred where it must not be, and the other way round",
        "models/algorithms/reward.py",
        "if not shift_mean:",
        "if shift_mean:",
        (
            COMBINED + "test_whiten_by_hand",
            COMBINED + "test_whitened_mean_is_0_when_centring_is_asked_and_kept_when_not",
            COMBINED + "test_whitening_in_float64_by_hand_with_padding",
        ),
    ),
    Mutation(
        "whitening over padding",
        "models/algorithms/reward.py",
        "real = x[mask]",
        "real = x.flatten()",
        (
            COMBINED + "test_whitening_is_blind_to_appended_padding",
            COMBINED + "test_whitening_in_float64_by_hand_with_padding",
        ),
    ),
    Mutation(
        "sample instead of population deviation",
        "models/algorithms/reward.py",
        "(shifted - mean).square().mean().sqrt()",
        "shifted.std()",
        (
            COMBINED + "test_whiten_by_hand",
            COMBINED + "test_order_of_the_reward_sigmoid_choose_logit_whiten_then_kl_by_hand",
        ),
    ),
    Mutation(
        "whitening by the variance",
        "models/algorithms/reward.py",
        "(shifted - mean).square().mean().sqrt()",
        "(shifted - mean).square().mean()",
        (
            COMBINED + "test_whiten_by_hand",
            COMBINED + "test_whitening_in_float64_by_hand_with_padding",
            PPO + "test_the_first_losses_follow_from_the_equations_by_hand",
        ),
    ),
    Mutation(
        "no floor under the deviation",
        "models/algorithms/reward.py",
        "max(min_std, _SMALLEST_STD)",
        "_SMALLEST_STD",
        (COMBINED + "test_min_std_floors_sigma_and_does_not_touch_a_larger_one",),
    ),
    Mutation(
        "the raw score compared with the probability 0.15",
        "models/algorithms/reward.py",
        "safety_scores < _logit(threshold)",
        "safety_scores < threshold",
        (
            COMBINED + "test_threshold_sits_at_the_logit_of_15_percent",
            COMBINED + "test_order_of_the_reward_sigmoid_choose_logit_whiten_then_kl_by_hand",
        ),
    ),
    Mutation(
        "safety model decides only where prompt and score both say so",
        "models/algorithms/reward.py",
        "is_safety_prompt | (",
        "is_safety_prompt & (",
        (
            COMBINED + "test_order_of_the_reward_sigmoid_choose_logit_whiten_then_kl_by_hand",
            COMBINED + "test_choice_equals_the_papers_text_with_the_sigmoid_taken",
        ),
    ),
    Mutation(
        "sigmoid and logit taken in turn",
        "models/algorithms/reward.py",
        "_logit(threshold)), safety_scores, helpfulness_scores)",
        "_logit(threshold)), safety_scores.sigmoid().logit(), helpfulness_scores.sigmoid().logit())",
        (COMBINED + "test_logit_of_a_score_of_0_or_1_is_finite",),
    ),
    # models/algorithms/ranking.py
    Mutation(
        "sign of the margin",
        "models/algorithms/ranking.py",
        "chosen_scores - rejected_scores - margins)",
        "chosen_scores - rejected_scores + margins)",
        (
            RANKING + "test_ranking_loss_by_hand",
            RANKING + "test_four_ratings_are_ordered_a_stronger_rating_costs_more",
            RANKING + "test_a_larger_margin_costs_more_and_a_larger_difference_less",
            TRL + "test_reward_loss_with_margin_equals_trls",
        ),
    ),
    Mutation(
        "chosen and rejected confused",
        "models/algorithms/ranking.py",
        "F.logsigmoid(chosen_scores - rejected_scores",
        "F.logsigmoid(rejected_scores - chosen_scores",
        (
            RANKING + "test_ranking_loss_by_hand",
            RANKING + "test_margin_zero_equals_the_plain_loss",
            TRL + "test_reward_loss_with_margin_equals_trls",
        ),
    ),
    Mutation(
        "safe and unsafe confused",
        "models/algorithms/ranking.py",
        "(~unsafe).to(",
        "unsafe.to(",
        (
            RANKING + "test_safety_loss_by_hand_safe_is_one",
            RANKING + "test_safety_loss_gradient_lowers_the_score_of_unsafe_responses_even_where_both_are_unsafe",
            REWARD + "test_the_safety_loss_lowers_unsafe_scores_even_where_both_are_unsafe",
        ),
    ),
    Mutation(
        "a number of table 27",
        "models/algorithms/ranking.py",
        '"better": 2.0,',
        '"better": 1.5,',
        (RANKING + "test_margins_are_those_of_table_27",),
    ),
    # models/algorithms/dpo.py
    Mutation(
        "sign of DPO's difference",
        "models/algorithms/dpo.py",
        "difference = chosen_rewards - rejected_rewards",
        "difference = rejected_rewards - chosen_rewards",
        (
            DPO + "test_dpo_loss_and_implicit_rewards_by_hand",
            DPO + "test_gradient_raises_the_chosen_and_lowers_the_rejected_by_the_weight_of_equation_7",
            TRL + "test_dpo_loss_equals_trls",
        ),
    ),
    Mutation(
        "DPO without the reference of the chosen",
        "models/algorithms/dpo.py",
        "beta * (chosen_logprobs - ref_chosen_logprobs)",
        "beta * chosen_logprobs",
        (
            DPO + "test_dpo_loss_and_implicit_rewards_by_hand",
            DPO + "test_a_policy_equal_to_its_reference_costs_ln_2",
            TRL + "test_dpo_loss_equals_trls",
        ),
    ),
    Mutation(
        "gradient through the reported rewards",
        "models/algorithms/dpo.py",
        "DPOLoss(loss, chosen_rewards.detach(),",
        "DPOLoss(loss, chosen_rewards,",
        (DPO + "test_gradient_raises_the_chosen_and_lowers_the_rejected_by_the_weight_of_equation_7",),
    ),
    Mutation(
        "label smoothing on the right label",
        "models/algorithms/dpo.py",
        "label_smoothing * F.logsigmoid(-difference)",
        "label_smoothing * F.logsigmoid(difference)",
        (DPO + "test_label_smoothing_mixes_in_the_flipped_label",),
    ),
    # models/algorithms/gatt.py, selection.py, agreement.py
    Mutation(
        "GAtt learns one token too many",
        "models/algorithms/gatt.py",
        "mask[-token_counts[-1] :] = True",
        "mask[-token_counts[-1] - 1 :] = True",
        (
            GATT + "test_loss_only_on_the_last_answer_and_none_on_assistant_tokens_of_earlier_turns",
            GATT + "test_the_number_of_learned_tokens_is_that_of_the_last_message",
            DIALOGUE + "test_gatt_learns_the_last_answer_alone",
        ),
    ),
    Mutation(
        "GAtt learns earlier answers",
        "models/algorithms/gatt.py",
        "mask[-token_counts[-1] :] = True",
        "mask[:] = True",
        (
            GATT + "test_loss_only_on_the_last_answer_and_none_on_assistant_tokens_of_earlier_turns",
            DIALOGUE + "test_gatt_learns_the_last_answer_alone",
            "tests/tasks/test_functions_of_policies.py::"
            "test_only_the_last_answer_of_a_ghost_attention_dialogue_is_learned",
        ),
    ),
    Mutation(
        "GAtt's instruction in every turn",
        "models/algorithms/gatt.py",
        '(where == "every" or not found)',
        "(True or not found)",
        (GATT + "test_instruction_stays_in_turn_1_only_for_training",),
    ),
    Mutation(
        "earlier candidates that there is room for are not scored again",
        "tasks/candidates.py",
        "if candidates[prompt_id] <= left:",
        "if candidates[prompt_id] < left:",
        (
            "tests/tasks/test_rejection_sample.py::"
            "test_settled_prompts_are_scored_whole_as_far_as_the_most_allows_and_all_of_them_where_it_allows_all",
        ),
    ),
    Mutation(
        "an earlier choice that is not made anew is lost",
        "tasks/rejection_sample.py",
        "picks = [everything[pool[i]] for i in best] + standing",
        "picks = [everything[pool[i]] for i in best]",
        (
            "tests/tasks/test_rejection_sample.py::"
            "test_a_choice_is_made_anew_where_all_candidates_are_scored_and_stands_where_they_are_not",
        ),
    ),
    Mutation(
        "rows at the end of a pile lie in none",
        "data_store/content/sorted_rows.py",
        "[0, *ends], ends, strict=False",
        "[1, *ends], ends, strict=False",
        (
            "tests/data_store/content/test_sorted_rows.py::"
            "test_however_much_is_held_at_once_the_rows_come_in_the_order_of_their_hashes",
        ),
    ),
    Mutation(
        "the worst candidate is chosen",
        "models/algorithms/selection.py",
        "(-scores[i], tie_break_ids[i])",
        "(scores[i], tie_break_ids[i])",
        (
            SELECTION
            + "test_best_of_all_iterations_an_older_response_wins_with_the_higher_score_under_the_newest_model",
            SELECTION + "test_nothing_left_out_beats_anything_taken",
        ),
    ),
    Mutation(
        "ties decided by the order of arrival",
        "models/algorithms/selection.py",
        "(-scores[i], tie_break_ids[i])",
        "(-scores[i], i)",
        (
            SELECTION + "test_equal_scores_are_decided_by_the_smaller_id",
            SELECTION + "test_the_choice_does_not_depend_on_the_order_of_the_candidates",
        ),
    ),
    Mutation(
        "a rating agrees with itself",
        "models/algorithms/agreement.py",
        "(weighted[k] - 1)",
        "weighted[k]",
        (
            AGREEMENT + "test_ac1_of_the_published_example_is_0_77544",
            AGREEMENT + "test_ac2_is_1_for_perfect_agreement_alone_and_never_less_than_its_weights_allow",
        ),
    ),
    Mutation(
        "chance agreement of AC2",
        "models/algorithms/agreement.py",
        "/ (q * (q - 1)) * sum(p",
        "/ (q * q) * sum(p",
        (
            AGREEMENT + "test_ac1_of_the_published_example_is_0_77544",
            AGREEMENT + "test_two_raters_at_random_agree_by_chance",
        ),
    ),
    # models/scoring.py
    Mutation(
        "as many rows are read together whatever they hold",
        "models/scoring.py",
        "count = max(1, min(most, MOST_LOGITS // (max(lengths[left[0]], 1) * vocabulary)))",
        "count = most",
        (SCORING + "test_rows_are_read_together_as_far_as_their_logits_are_few",),
    ),
    Mutation(
        "positions count the padding",
        "models/scoring.py",
        "return (mask.cumsum(1) - 1).clamp(min=0)",
        "return torch.arange(mask.shape[1]).expand_as(mask)",
        (SCORING + "test_positions_start_at_zero_on_the_first_real_token",),
    ),
    Mutation(
        "positions that repeat",
        "models/scoring.py",
        "return (mask.cumsum(1) - 1).clamp(min=0)",
        "return (mask.cumsum(1) - 1).clamp(min=0) // 2",
        (
            SCORING + "test_positions_start_at_zero_on_the_first_real_token",
            SCORING + "test_logprobs_are_equal_alone_and_padded_on_both_sides_in_a_batch",
            SCORING + "test_the_reward_is_read_at_the_last_real_token_also_where_eos_stands_in_the_prompt",
        ),
    ),
    Mutation(
        "reward read at the last column",
        "models/scoring.py",
        "last = (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(1)",
        "last = torch.full((len(mask),), mask.shape[1] - 1)",
        (
            SCORING + "test_reward_scores_are_equal_alone_left_padded_and_right_padded",
            SCORING + "test_the_reward_is_read_at_the_last_real_token_also_where_eos_stands_in_the_prompt",
        ),
    ),
    Mutation(
        "reward read by the number of tokens, wrong under left padding",
        "models/scoring.py",
        "last = (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(1)",
        "last = mask.sum(1) - 1",
        (SCORING + "test_reward_scores_are_equal_alone_left_padded_and_right_padded",),
    ),
    Mutation(
        "reward read before the first EOS",
        "models/scoring.py",
        "last = (mask * torch.arange(mask.shape[1], device=mask.device)).argmax(1)",
        "last = (ids == 2).int().argmax(1)",
        (SCORING + "test_the_reward_is_read_at_the_last_real_token_also_where_eos_stands_in_the_prompt",),
    ),
    Mutation(
        "response log-probabilities shifted by one",
        "models/scoring.py",
        "logits_to_keep=width + 1,\n    ).logits[:, :-1]",
        "logits_to_keep=width + 1,\n    ).logits[:, 1:]",
        (
            SCORING + "test_logprobs_are_equal_alone_and_padded_on_both_sides_in_a_batch",
            GENERATION + "test_the_first_ratio_is_one_at_the_sampling_temperature",
            TRL + "test_dpo_loss_equals_trls",
        ),
    ),
    Mutation(
        "scoring at another temperature than sampling",
        "models/scoring.py",
        "token_logprobs(logits, ids[:, -width:], temperature)",
        "token_logprobs(logits, ids[:, -width:], 1.0)",
        (
            GENERATION + "test_the_first_ratio_is_one_at_the_sampling_temperature",
            SCORING + "test_logprobs_are_equal_alone_and_padded_on_both_sides_in_a_batch",
        ),
    ),
    Mutation(
        "response mask shifted by one",
        "models/scoring.py",
        "attention[:, P:].bool()",
        "attention[:, P - 1 : -1].bool()",
        (
            SCORING + "test_layout_by_hand",
            SCORING + "test_logprobs_are_equal_alone_and_padded_on_both_sides_in_a_batch",
            ROLLOUTS + "test_rollouts_follow_from_the_equations_by_hand",
        ),
    ),
    Mutation(
        "log-probabilities read with padding in sight",
        "models/scoring.py",
        "attention_mask=mask,\n        position_ids=positions_of(mask),\n        use_cache=False,\n        logits",
        "attention_mask=mask | 1,\n        position_ids=positions_of(mask),\n        use_cache=False,\n        logits",
        (
            SCORING + "test_logprobs_are_equal_alone_and_padded_on_both_sides_in_a_batch",
            SCORING + "test_logprobs_are_equal_whatever_stands_at_the_padding",
        ),
    ),
    Mutation(
        "scores in the order of reading",
        "models/scoring.py",
        "            scores[i] = value",
        "            scores[start + chosen.index(i)] = value",
        (SCORING + "test_score_rows_keeps_the_order_of_the_rows",),
    ),
    # models/prefix_tree.py
    Mutation(
        "responses of a tree in sight of each other",
        "models/prefix_tree.py",
        "(columns <= columns[:, None]) & (columns[:, None] < ends[:, None, :])",
        "(columns <= columns[:, None]) & (columns[:, None] < W + ends[:, None, :])",
        (
            TREE + "test_changing_one_response_leaves_the_other_ones_values_and_gradients_unchanged",
            TREE + "test_logprobs_and_gradients_equal_separate_rows",
            TREE + "test_the_mask_by_hand",
            TRL + "test_reward_loss_with_margin_equals_trls",
        ),
    ),
    Mutation(
        "positions of a tree follow its columns",
        "models/prefix_tree.py",
        "positions += range(shared, len(sequence))",
        "positions += new",
        (
            TREE + "test_a_prompt_with_two_responses_by_hand",
            TREE + "test_scores_and_gradients_equal_separate_rows",
            TREE + "test_logprobs_and_gradients_equal_separate_rows",
        ),
    ),
    Mutation(
        "a tree's score read one token early",
        "models/prefix_tree.py",
        "last = (batch.places >= 0).sum(1, keepdim=True) - 1",
        "last = (batch.places >= 0).sum(1, keepdim=True) - 2",
        (
            TREE + "test_scores_and_gradients_equal_separate_rows",
            TRL + "test_reward_loss_with_margin_equals_trls",
        ),
    ),
    Mutation(
        "a tree's log-probabilities shifted by one",
        "models/prefix_tree.py",
        "output_embeddings(model)(tree_hidden(model, batch, batch.places.gather(1, wanted - 1)[mask]))",
        "output_embeddings(model)(tree_hidden(model, batch, batch.places.gather(1, wanted)[mask]))",
        (TREE + "test_logprobs_and_gradients_equal_separate_rows",),
    ),
    # models/last_layer.py
    Mutation(
        "the last layer keeps what is to be computed again",
        "models/last_layer.py",
        'vars(layer)["forward"] = again if checkpoints and layer.training else read',
        'vars(layer)["forward"] = read',
        (LAST_LAYER + "test_with_layers_that_are_computed_again_on_the_way_back_gradients_are_the_same",),
    ),
    Mutation(
        "a token of the last layer that does not see itself",
        "models/last_layer.py",
        "<= columns[:, None, :, None]",
        "< columns[:, None, :, None]",
        (LAST_LAYER + WHOLE_PASS,),
    ),
    Mutation(
        "queries of the last layer with the positions of other tokens",
        "models/last_layer.py",
        "cos[row, columns], sin[row, columns]",
        "cos[:, : columns.shape[1]], sin[:, : columns.shape[1]]",
        (LAST_LAYER + WHOLE_PASS,),
    ),
    Mutation(
        "the last layer's mask of the first tokens instead of those that are wanted",
        "models/last_layer.py",
        "attention_mask.expand(rows, -1, -1, -1)[row, :, columns].transpose(1, 2)",
        "attention_mask.expand(rows, -1, -1, -1)[:, :, : columns.shape[1]]",
        (LAST_LAYER + WHOLE_PASS,),
    ),
    Mutation(
        "the last layer computes what nobody reads",
        "models/last_layer.py",
        "AT_MOST = 0.8",
        "AT_MOST = 0.0",
        (LAST_LAYER + "test_the_last_layer_computes_the_tokens_that_are_wanted_and_no_others",),
    ),
    # models/generation.py
    Mutation(
        "sampling without its temperature",
        "models/generation.py",
        "torch.log_softmax(logits.float() / temperatures[alive], dim=-1)",
        "torch.log_softmax(logits.float(), dim=-1)",
        (
            GENERATION + "test_a_tiny_temperature_says_the_models_argmax",
            GENERATION + "test_the_first_ratio_is_one_at_the_sampling_temperature",
            GENERATION + "test_draws_follow_the_full_distribution_whatever_the_checkpoint_asks_for",
        ),
    ),
    Mutation(
        "positions of the prompt count the padding",
        "models/generation.py",
        "position_ids=positions_of(mask)",
        "position_ids=torch.arange(mask.shape[1]).expand_as(mask)",
        (
            GENERATION + "test_a_tiny_temperature_says_the_models_argmax",
            GENERATION + "test_the_first_ratio_is_one_at_the_sampling_temperature",
        ),
    ),
    Mutation(
        "position of the answer stands still",
        "models/generation.py",
        "position = position + 1",
        "position = position + 0",
        (
            GENERATION + "test_a_tiny_temperature_says_the_models_argmax",
            GENERATION + "test_the_first_ratio_is_one_at_the_sampling_temperature",
        ),
    ),
    Mutation(
        "rows that remain take the positions of those that left",
        "models/generation.py",
        "mask[keep], position[keep]",
        "mask[keep], position[: len(keep)]",
        (GENERATION + "test_finished_rows_retire_and_disturb_no_other",),
    ),
    Mutation(
        "EOS dropped from the response",
        "models/generation.py",
        "lengths[alive[ended]] = step + 1",
        "lengths[alive[ended]] = step",
        (GENERATION + "test_finished_rows_retire_and_disturb_no_other",),
    ),
    Mutation(
        "sampling from the ten most likely tokens",
        "models/generation.py",
        "drawn = draw_tokens(scaled, uniform[alive, step])",
        "top = scaled.topk(10)\n"
        "        drawn = top.indices.gather(1, draw_tokens(top.values.log_softmax(-1), uniform[alive, step]))",
        (GENERATION + "test_draws_follow_the_full_distribution_whatever_the_checkpoint_asks_for",),
    ),
    Mutation(
        "what the blocks before hold is looked for in the block too",
        "models/generation.py",
        "_first_above(inside, wanted - before)",
        "_first_above(inside, wanted)",
        (
            GENERATION + "test_a_token_is_found_in_the_block_that_it_stands_in",
            GENERATION + "test_draws_of_a_large_vocabulary_follow_its_distribution",
        ),
    ),
    # models/streaming.py
    Mutation(
        "a dialogue goes on from the keys and values of another",
        "models/streaming.py",
        "kept = _common(ids, prompt[:-1])",
        "kept = min(len(ids), len(prompt) - 1)",
        (STREAMING + "test_a_dialogue_that_goes_on_is_read_from_where_it_differs_and_answered_as_if_it_were_new",),
    ),
    Mutation(
        "a reading that was cut off is gone on from",
        "models/streaming.py",
        "self._held = None  # where",
        "pass  # where",
        (STREAMING + "test_a_reading_that_fails_half_way_is_forgotten",),
    ),
    # data_store/annotation/chat.py
    Mutation(
        "of a chat's prompts only the last one is looked up among those that are held out",
        "data_store/annotation/chat.py",
        "any(self.is_held_out(spoken[:end]) for end in asked)",
        "self.is_held_out(spoken)",
        (TALKED + "test_no_judgement_of_a_prompt_that_is_held_out_is_saved_in_any_turn_or_behind_a_system_message",),
    ),
    # models/training/ppo.py
    Mutation(
        "rewards not whitened",
        "models/training/ppo.py",
        "whitened = whiten(scores, min_std=config.min_reward_std)",
        "whitened = scores",
        (
            PPO + "test_the_first_losses_follow_from_the_equations_by_hand",
            ROLLOUTS + "test_rollouts_follow_from_the_equations_by_hand",
        ),
    ),
    Mutation(
        "whitened after the KL penalty",
        "models/training/ppo.py",
        "penalize_kl(whitened, old_logprobs, ref_logprobs, response_mask, kl_coef=config.kl_coef)",
        "penalize_kl(scores, old_logprobs, ref_logprobs, response_mask, kl_coef=config.kl_coef)\n"
        "    rewards = whiten(rewards, response_mask)",
        (ROLLOUTS + "test_rollouts_follow_from_the_equations_by_hand",),
    ),
    Mutation(
        "advantages whitened over padding",
        "models/training/ppo.py",
        "advantages = whiten(advantages, response_mask)",
        "advantages = whiten(advantages)",
        (ROLLOUTS + "test_rollouts_follow_from_the_equations_by_hand",),
    ),
    Mutation(
        "gamma and lambda confused",
        "models/training/ppo.py",
        "response_mask, config.gamma, config.gae_lambda)",
        "response_mask, config.gae_lambda, config.gamma)",
        (ROLLOUTS + "test_rollouts_follow_from_the_equations_by_hand",),
    ),
    Mutation(
        "safety and helpfulness models confused",
        "models/training/ppo.py",
        "combine_rewards(safety, helpfulness, is_safety, config.safety_threshold)",
        "combine_rewards(helpfulness, safety, is_safety, config.safety_threshold)",
        (ROLLOUTS + "test_rollouts_follow_from_the_equations_by_hand",),
    ),
    Mutation(
        "the text of an answer is read in the place of its ids",
        "tasks/answers.py",
        "if answer.ids is not None and answer.tokenizer == renderer.identity:",
        "if answer.ids is None and answer.tokenizer == renderer.identity:",
        (
            SAMPLING + "test_from_every_kind_of_row_the_ids_that_were_drawn_are_those_that_are_read",
            CUT + "test_fine_tuning_learns_the_ids_that_were_drawn_and_of_a_cut_pick_no_end",
            CUT + "test_dpo_and_reward_models_learn_the_ids_of_a_pair_the_cut_one_without_an_end",
        ),
    ),
    Mutation(
        "the ids of another tokenizer are read",
        "tasks/answers.py",
        "if answer.ids is not None and answer.tokenizer == renderer.identity:",
        "if answer.ids is not None:",
        (SAMPLING + "test_of_another_tokenizer_the_text_is_read_with_an_end_only_where_it_is_finished",),
    ),
    Mutation(
        "ids are read unchecked",
        "tasks/answers.py",
        "if rendered.input_ids != [*renderer.prompt(messages), *answer.ids]:",
        "if False:",
        (SAMPLING + "test_a_renderer_that_would_read_other_ids_than_were_sampled_is_stopped_with_the_row",),
    ),
    Mutation(
        "a cut answer's text gets the template's end",
        "tasks/answers.py",
        "if answer.finished or rendered.input_ids[-1] not in renderer.end_ids:",
        "if answer.finished is not None:",
        (SAMPLING + "test_of_another_tokenizer_the_text_is_read_with_an_end_only_where_it_is_finished",),
    ),
    Mutation(
        "cut candidates are picked",
        "tasks/rejection_sample.py",
        'return bool(row["finished"]) or config.unfinished == "score"',
        "return True",
        (
            CUT + "test_rejection_sampling_keeps_and_picks_finished_candidates_alone_and_counts_the_others",
            CUT + "test_cut_candidates_of_an_earlier_iteration_are_left_out_too",
        ),
    ),
    Mutation(
        "Ghost Attention keeps dialogues whose last answer was cut",
        "tasks/synthesize_gatt.py",
        'if plan["last"].finished',
        "if True",
        (CUT + "test_ghost_attention_leaves_out_and_counts_dialogues_whose_last_answer_was_cut",),
    ),
    Mutation(
        "a cut answer may be worth more than a finished one",
        "models/algorithms/reward.py",
        "scores.clamp(max=scores[finished].min())",
        "scores.clamp(max=scores[finished].max())",
        (
            COMBINED + "test_what_a_cut_answer_gets_by_hand",
            COMBINED + "test_with_lowest_no_cut_answer_is_above_a_finished_one_and_finished_ones_keep_theirs",
        ),
    ),
    Mutation(
        "finished responses get the reward of truncated ones",
        "models/algorithms/reward.py",
        "torch.where(finished, scores, cut)",
        "torch.where(finished, cut, scores)",
        (
            PPO + "test_a_truncated_response_is_treated_as_the_config_says",
            ROLLOUTS + "test_rollouts_follow_from_the_equations_by_hand",
        ),
    ),
    Mutation(
        "accumulated passes each take their own mean",
        "models/training/ppo_update.py",
        "mask, config.clip_range, denominator=tokens)",
        "mask, config.clip_range, denominator=None)",
        (
            PPO + "test_accumulated_passes_give_the_policy_of_one_pass",
            ROLLOUTS + "test_a_pass_computes_the_losses_by_hand_with_the_ranges_of_the_config",
        ),
    ),
    Mutation(
        "values not clipped whatever the config says",
        "models/training/ppo_update.py",
        "        config.value_clip_range,\n",
        "        None,\n",
        (ROLLOUTS + "test_a_pass_computes_the_losses_by_hand_with_the_ranges_of_the_config",),
    ),
    Mutation(
        "entropy at temperature 1",
        "models/training/ppo_update.py",
        "token_entropy(logits.detach() / temperature)",
        "token_entropy(logits.detach())",
        (ROLLOUTS + "test_a_pass_computes_the_losses_by_hand_with_the_ranges_of_the_config",),
    ),
    Mutation(
        "gradients of the mini-batch before are kept",
        "models/training/ppo_update.py",
        "                optimizer.zero_grad()\n",
        "",
        (ROLLOUTS + "test_each_mini_batch_begins_with_no_gradient",),
    ),
    Mutation(
        "the best policy by reward plus KL",
        "models/training/ppo_looks.py",
        'objective = stats["reward"] / state["deviation"] - config.kl_coef * stats["kl"]',
        'objective = stats["reward"] / state["deviation"] + config.kl_coef * stats["kl"]',
        (PPO + "test_looks_are_compared_by_the_objective_that_is_trained_whitened_by_the_first_looks_deviation",),
    ),
    Mutation(
        "KL over its limit goes on",
        "models/training/ppo_looks.py",
        'if stats["kl"] <= config.kl_limit:',
        'if stats["kl"] >= -config.kl_limit:',
        (PPO + "test_beyond_the_limit_of_kl_it_stops_and_keeps_the_best_policy_before",),
    ),
    Mutation(
        "the best policy may lie beyond the limit of KL",
        "models/training/ppo_looks.py",
        'objective > state["best"] and stats["kl"] <= config.kl_limit',
        'objective > state["best"]',
        (PPO + "test_beyond_the_limit_of_kl_it_stops_and_keeps_the_best_policy_before",),
    ),
    Mutation(
        "held-out looks whitened each by its own deviation",
        "models/training/ppo_looks.py",
        'objective = stats["reward"] / state["deviation"]',
        'objective = stats["reward"] / stats["reward_std"]',
        (PPO + "test_looks_are_compared_by_the_objective_that_is_trained_whitened_by_the_first_looks_deviation",),
    ),
    Mutation(
        "held out by id instead of by text",
        "tasks/collect_preferences.py",
        'is_held_out(row["messages"], percent, "pairs")',
        'is_held_out([{"role": "user", "content": row["preference_id"]}], percent, "pairs")',
        ("tests/tasks/test_held_out.py::test_pairs_on_one_text_stand_on_one_side_whatever_their_ids",),
    ),
    Mutation(
        "the split of a file is overwritten",
        "tasks/collect_preferences.py",
        'return row.get("split") or (',
        "return (",
        ("tests/tasks/test_held_out.py::test_the_split_that_a_file_says_of_its_pairs_is_obeyed",),
    ),
    Mutation(
        "pairs on evaluation prompts are trained on",
        "tasks/collect_preferences.py",
        'if plain(row["messages"]) in held_out:',
        "if False:",
        ("tests/tasks/test_held_out.py::test_pairs_on_a_prompt_that_serves_for_evaluation_train_nothing",),
    ),
    Mutation(
        "demonstrations answer held-out prompts",
        "tasks/import_data.py",
        "untested(without_texts(each, apart, HELD_OUT))",
        "untested(each)",
        ("tests/tasks/test_held_out.py::test_evaluation_and_borderline_prompts_are_held_out_wherever_they_stand",),
    ),
    Mutation(
        "the first of two tags is taken for both axes",
        "data_store/reading/preference_formats/label_studio_answers.py",
        "if len(pairwise) > 1:",
        "if len(pairwise) > 2:",
        (TOOLS + "test_two_pairwise_tags_are_two_questions_and_each_axis_names_its_own",),
    ),
    Mutation(
        "drafts count as judgements",
        "data_store/reading/preference_formats/argilla.py",
        "if answer.status not in (None, _SUBMITTED):",
        "if answer.status not in (None, _SUBMITTED, 'draft', 'discarded'):",
        (TOOLS + "test_a_status_comes_before_the_shape_of_an_answer",),
    ),
    Mutation(
        "a system message beside a dialogue is not read",
        "data_store/reading/messages.py",
        '_SYSTEM = ("system", "system_prompt")',
        "_SYSTEM = ()",
        ("tests/data_store/reading/test_messages.py::test_what_stands_beside_a_dialogue_belongs_to_it",),
    ),
    Mutation(
        "rows of the other axis are taken in",
        "data_store/reading/preference_readers.py",
        'elif said.axis is None and found.get("axis", options.axis) != options.axis:',
        "elif False:",
        ("tests/data_store/reading/test_messages.py::test_a_pair_that_would_be_another_one_is_refused_by_name",),
    ),
    Mutation(
        "any share of the rows may be dropped",
        "tasks/fit_context.py",
        "if share > config.max_dropped_share:",
        "if share > 1:",
        (
            "tests/tasks/test_functions_of_policies.py::"
            "test_where_most_rows_are_too_long_the_run_stops_and_says_how_many_of_which_set",
        ),
    ),
    Mutation(
        "a safety score without a level is compared with the threshold",
        "tasks/safety_level.py",
        "return wanted if min(",
        "return wanted if 1 + min(",
        ("tests/tasks/test_safety_level.py::test_a_threshold_counts_where_safe_and_unsafe_responses_were_labelled",),
    ),
    Mutation(
        "gradients of the processes averaged instead of summed",
        "models/training/ppo_update.py",
        'accelerator.reduce(parameter.grad, "sum")',
        'accelerator.reduce(parameter.grad, "mean")',
        (PPO_TWO_PROCESSES,),
    ),
    Mutation(
        "every process learns from the whole mini-batch",
        "models/training/ppo_update.py",
        "own = rows[accelerator.process_index :: accelerator.num_processes]",
        "own = rows",
        (PPO_TWO_PROCESSES,),
    ),
    Mutation(
        "each process divides by the tokens of its own rows",
        "models/training/ppo_update.py",
        "tokens = int(rollouts.response_mask[rows].sum())",
        "tokens = int(rollouts.response_mask[rows[accelerator.process_index :: accelerator.num_processes]].sum())",
        (PPO_TWO_PROCESSES,),
    ),
    Mutation(
        "the largest ratios of the parts added up",
        "models/training/ppo_update.py",
        '(max if name == "ratio_max" else sum)',
        "sum",
        (PPO_TWO_PROCESSES, PPO + "test_accumulated_passes_give_the_policy_of_one_pass"),
    ),
    # models/training/rollouts.py
    Mutation(
        "log-probabilities of rounded passes taken from the sampler",
        "models/training/rollouts.py",
        "if roles.server is not None or torch.is_autocast_enabled(batch.mask.device.type):",
        "if False:",
        (
            "tests/models/training/test_precision.py::"
            "test_in_bfloat16_the_first_ratio_is_one_and_the_first_distance_to_the_reference_exactly_zero",
        ),
    ),
    Mutation(
        "values read after the token instead of before it",
        "models/responses.py",
        "[:, -T - 1 : -1]",
        "[:, -T:]",
        (RESPONSES + "test_values_are_read_before_each_token_and_scores_after_the_last",),
    ),
    Mutation(
        "values of a tree read after the token instead of before it",
        "models/prefix_tree.py",
        "found = read_head(model, tree_hidden(model, batch, batch.places.gather(1, wanted - 1)[mask]))",
        "found = read_head(model, tree_hidden(model, batch, batch.places.gather(1, wanted)[mask]))",
        (
            RESPONSES + "test_values_are_read_before_each_token_and_scores_after_the_last",
            PPO + "test_the_first_losses_follow_from_the_equations_by_hand",
            ROLLOUTS + "test_rollouts_follow_from_the_equations_by_hand",
        ),
    ),
    Mutation(
        "models that trees do not fit share rows",
        "models/roles.py",
        "None if None in costs else costs[0]",
        "costs[0]",
        (RESPONSES + "test_five_models_share_rows_only_where_trees_fit_them_all",),
    ),
    Mutation(
        "penalty against the policy itself",
        "models/training/rollouts.py",
        "ref_logprobs, _ = read_logprobs(roles.reference, batch, temperature)",
        "ref_logprobs, _ = read_logprobs(roles.policy, batch, temperature)",
        (
            PPO + "test_the_kl_penalty_holds_the_policy_near_its_reference",
            ROLLOUTS + "test_rollouts_follow_from_the_equations_by_hand",
        ),
    ),
    Mutation(
        "random numbers by the place in the batch",
        "models/generation.py",
        "streams = [(request.seed, n) for request in requests for n in range(len(request.temperatures))]",
        "streams = [(requests[0].seed, n) for n in range(sum(len(request.temperatures) for request in requests))]",
        (
            GENERATION + "test_the_same_responses_are_drawn_in_batches_of_any_size",
            SAMPLING + "test_answers_do_not_depend_on_shards_and_batches",
        ),
    ),
    Mutation(
        "all rows take random numbers of their place, not their own",
        "models/generation.py",
        "uniform[alive, step]",
        "uniform[: len(alive), step]",
        (GENERATION + "test_the_same_responses_are_drawn_in_batches_of_any_size",),
    ),
    Mutation(
        "rows take temperatures of their place, not their own",
        "models/generation.py",
        "logits.float() / temperatures[alive]",
        "logits.float() / temperatures[: len(alive)]",
        (GENERATION + "test_rows_keep_their_temperature_when_others_leave",),
    ),
    Mutation(
        "the longest prompt of a batch bounds all its responses",
        "models/generation.py",
        "room = [min(config.max_new_tokens, limit - len(request.ids)) for request in batch]",
        "room = [min(config.max_new_tokens, limit - max(len(other.ids) for other in batch)) for _ in batch]",
        (GENERATION + "test_near_the_end_of_the_context_a_response_has_room_whatever_stands_beside_it",),
    ),
    Mutation(
        "a token of probability 0 can be drawn",
        "models/generation.py",
        "minimum(below), right=True)",
        "minimum(below))",
        (GENERATION + "test_tokens_are_drawn_by_cumulated_probability_by_hand",),
    ),
    Mutation(
        "safety and helpfulness read by the same model",
        "models/training/rollouts.py",
        "read_scores(roles.safety, batch)",
        "read_scores(roles.helpfulness, batch)",
        (ROLLOUTS + "test_rollouts_follow_from_the_equations_by_hand",),
    ),
    # models/roles.py
    Mutation(
        "the base, adapters off, as the reference",
        "models/roles.py",
        "reference=load_policy(policy, shared, on=CPU),",
        "reference=shared,",
        (
            ROLES + "test_the_reference_stays_the_policy_as_it_was_at_the_start_which_is_not_the_base",
            ROLES + "test_each_role_gives_what_a_model_of_its_own_gives_to_the_bit",
            ONE_BASE + "test_rollouts_losses_and_gradients_are_those_of_five_models_to_the_bit",
        ),
    ),
    Mutation(
        "the value model starts as the safety model",
        "models/roles.py",
        "value=load_reward(helpfulness, shared, trainable=True),",
        "value=load_reward(safety, shared, trainable=True),",
        (
            ROLES + "test_each_role_gives_what_a_model_of_its_own_gives_to_the_bit",
            ONE_BASE + "test_rollouts_losses_and_gradients_are_those_of_five_models_to_the_bit",
        ),
    ),
    Mutation(
        "a reward model that learns along",
        "models/roles.py",
        "safety=load_reward(safety, shared, on=CPU),",
        "safety=load_reward(safety, shared, trainable=True),",
        (ROLES + "test_only_the_adapters_of_policy_and_value_and_the_values_head_can_learn",),
    ),
    # models/checkpoint.py
    Mutation(
        "a base of its own for each role",
        "models/checkpoint.py",
        "same = {id(tensor): tensor for tensor in (*base.parameters(), *base.buffers())}",
        "same: dict[int, object] = {}",
        (
            ROLES + "test_every_role_reads_the_very_weights_of_one_base",
            ROLES + "test_one_base_five_adapters_and_three_heads_are_all_that_is_in_memory",
            ONE_BASE + "test_a_run_writes_the_same_policy_and_changes_neither_the_base_nor_what_is_frozen",
        ),
    ),
    Mutation(
        "modules shared along with the weights",
        "models/checkpoint.py",
        "model: nn.Module = copy.deepcopy(base, same)",
        "model: nn.Module = base",
        (
            ROLES + "test_each_role_gives_what_a_model_of_its_own_gives_to_the_bit",
            ROLES + "test_the_mode_of_one_role_leaves_the_others_as_they_are",
        ),
    ),
    # models/training/reward.py
    Mutation(
        "chosen and rejected rows confused in the trainer",
        "models/training/reward.py",
        'ranking_loss(chosen, rejected, inputs["margin"])',
        'ranking_loss(rejected, chosen, inputs["margin"])',
        (
            REWARD + "test_the_loss_is_minus_log_sigmoid_of_the_difference_less_the_margin",
            TRL + "test_reward_loss_with_margin_equals_trls",
        ),
    ),
    Mutation(
        "safety loss counts pairs without a label",
        "models/training/reward.py",
        'both * inputs["labelled"] / 2',
        "both / 2",
        (REWARD + "test_the_safety_loss_is_added_for_both_responses_of_labelled_pairs",),
    ),
    Mutation(
        "safety loss normalised per micro-batch",
        "models/training/reward.py",
        'inputs["labelled"] / 2',
        'inputs["labelled"] / (2 * inputs["labelled"].float().mean())',
        (
            REWARD + "test_the_safety_loss_is_added_for_both_responses_of_labelled_pairs",
            REWARD + "test_one_pass_over_sixteen_ragged_pairs_has_the_gradient_of_eight_passes_over_two",
        ),
    ),
    Mutation(
        "the rejected one of a mixed pair counts as safe",
        "models/training/reward.py",
        'label in ("both_unsafe", "chosen_safe_other_unsafe")',
        'label in ("both_unsafe",)',
        (REWARD + "test_the_safety_loss_is_added_for_both_responses_of_labelled_pairs",),
    ),
    Mutation(
        "safety loss in the helpfulness model",
        "models/training/reward.py",
        "config.safety_loss_coef if safety else 0.0",
        "config.safety_loss_coef",
        (REWARD + "test_the_helpfulness_model_ignores_safety_labels",),
    ),
    # models/training/sft.py, packing.py, dialogue.py and what it stands on, hf.py
    Mutation(
        "SFT learns the prompt",
        "models/training/sft.py",
        "token if counts else IGNORED",
        "token",
        (
            SFT + FIVE_TOKENS,
            SFT + "test_the_loss_of_a_batch_is_the_mean_over_all_tokens_that_the_model_says",
            TRL + "test_sft_loss_equals_trls",
        ),
    ),
    Mutation(
        "EOS masked where it is the padding",
        "models/training/sft.py",
        "token if counts else IGNORED",
        "token if counts and token != renderer.end_ids[0] else IGNORED",
        (
            SFT + FIVE_TOKENS,
            SFT + "test_the_label_at_every_final_eos_counts_also_where_padding_is_eos",
            TRL + "test_sft_loss_equals_trls",
        ),
    ),
    Mutation(
        "dialogues without a token to learn pass",
        "models/training/sft.py",
        "if not any(dialogue.loss_mask):",
        "if not dialogue.loss_mask:",
        (SFT + "test_a_dialogue_without_a_token_to_learn_is_refused_by_its_number",),
    ),
    Mutation(
        "labels shifted once more",
        "models/training/packing.py",
        'torch.tensor(example["labels"])',
        'torch.tensor([*example["labels"][1:], IGNORED])',
        (SFT + FIVE_TOKENS, PRETRAIN + FIVE_TOKENS, TRL + "test_sft_loss_equals_trls"),
    ),
    Mutation(
        "a label is predicted from itself",
        "models/training/next_token.py",
        'inputs["labels"][:, 1:], (0, 1)',
        'inputs["labels"], (0, 0)',
        (NEXT_TOKEN + "test_loss_and_gradients_are_those_of_transformers", SFT + FIVE_TOKENS),
    ),
    Mutation(
        "packed sequences in sight of each other",
        "models/training/packing.py",
        "positions[i, place : place + length] = torch.arange(length)",
        "positions[i, place : place + length] = torch.arange(place, place + length)",
        (
            SFT + "test_packed_dialogues_do_not_leak_into_each_other",
            PRETRAIN + "test_packed_documents_do_not_leak_into_each_other",
            TRL + "test_sft_loss_equals_trls",
        ),
    ),
    Mutation(
        "sequences packed by length",
        "models/training/packing.py",
        "random.Random(seed).shuffle(order)",
        "order.sort(key=lambda i: -len(ids[i]))",
        (PACKING + "test_rows_are_full_and_of_mixed_lengths",),
    ),
    Mutation(
        "only the newest row is filled",
        "models/training/pretrain.py",
        "OPEN_ROWS = 64",
        "OPEN_ROWS = 1",
        (PACKING + "test_rows_are_full_and_of_mixed_lengths",),
    ),
    Mutation(
        "the first token of a packed sequence predicted from the one before",
        "models/training/packing.py",
        "(IGNORED, *labels[i][1:])",
        "labels[i]",
        (PRETRAIN + "test_the_loss_of_a_batch_is_the_mean_over_all_its_tokens",),
    ),
    Mutation(
        "a turn ends before its EOS",
        "models/chat_template.py",
        "{turn.trail}{turn.end}",
        "{turn.trail}",
        (
            DIALOGUE + "test_every_final_eos_counts_in_the_loss_also_where_it_is_the_padding",
            DIALOGUE + "test_llama2_layout_by_hand",
            CHAT + "test_a_dialogue_of_text_is_its_prompt_and_the_text_as_it_would_be_sampled",
        ),
    ),
    Mutation(
        "control tokens in people's text",
        "models/text_encoder.py",
        "split_special_tokens=True",
        "split_special_tokens=False",
        (TEXT + "test_control_tokens_are_letters_in_a_text_and_ordinary_added_tokens_are_themselves",),
    ),
    Mutation(
        "a BOS in front of every run of text",
        "models/text_encoder.py",
        "add_special_tokens=False, split",
        "add_special_tokens=True, split",
        (DIALOGUE + "test_a_tokenizer_that_adds_bos_itself_adds_no_second_one",),
    ),
    Mutation(
        "the template's own block of thoughts is learned",
        "models/chat_template.py",
        'said = "" if written.strip() and not self.tokens.search(written) else written',
        "said = written",
        (
            CHAT + "test_a_dialogue_of_text_is_its_prompt_and_the_text_as_it_would_be_sampled",
            CHAT + "test_a_block_that_the_template_writes_of_its_own_is_not_the_models",
        ),
    ),
    Mutation(
        "sampled ids get the template's end",
        "models/dialogue.py",
        "list(answer_ids)\n",
        "[*answer_ids, self.end_ids[0]]\n",
        (CHAT + "test_a_dialogue_with_sampled_ids_is_its_prompt_and_these_ids",),
    ),
    Mutation(
        "answers are learned where the template has rewritten what was before them",
        "models/chat_template.py",
        "full.startswith(before + said)",
        "said in full",
        (
            CHAT + "test_each_answer_is_learned_once_behind_the_prompt_that_it_was_given_to",
            DIALOGUE + "test_where_the_template_rewrites_earlier_turns_each_answer_has_a_row_of_its_own",
        ),
    ),
    Mutation(
        "rewritten answers are not learned at all",
        "models/dialogue.py",
        "for i in sorted(left | {last}, reverse=True):",
        "for i in [last]:",
        (CHAT + "test_each_answer_is_learned_once_behind_the_prompt_that_it_was_given_to",),
    ),
    Mutation(
        "a blank in front of what is said in the middle of a line",
        "models/text_encoder.py",
        "return self._prefixes and not",
        "return False and not",
        (CHAT + "test_a_prompt_is_the_ids_of_what_the_template_writes",),
    ),
    Mutation(
        "the end of sequence alone ends a turn",
        "models/dialogue.py",
        "tuple(dict.fromkeys([self._token_ids[turn.end], *ends]))",
        "tuple(eos)",
        (CHAT + "test_a_turn_ends_with_what_the_template_writes_or_the_model_names",),
    ),
    Mutation(
        "generation_config.json is not asked for ends",
        "models/tokenizer.py",
        'ends_in(folder / "generation_config.json") or ends_in(folder / "config.json")',
        'ends_in(folder / "config.json")',
        (CHAT + "test_a_turn_ends_with_what_the_template_writes_or_the_model_names",),
    ),
    Mutation(
        "sampling goes on past all ends but the first",
        "models/generation.py",
        "torch.isin(drawn[:, 0], ends)",
        "torch.isin(drawn[:, 0], ends[:1])",
        (GENERATION + "test_a_response_ends_with_whichever_end_it_says_first",),
    ),
    Mutation(
        "every added token is format",
        "models/chat_template.py",
        "self.formatting = frozenset(special | self.marks)",
        "self.formatting = frozenset(special | ordinary)",
        (TEXT + "test_control_tokens_are_letters_in_a_text_and_ordinary_added_tokens_are_themselves",),
    ),
    Mutation(
        "people's text becomes marks of roles",
        "models/text_encoder.py",
        "if marks and tokenizer.is_fast else",
        "if False else",
        (TEXT + "test_control_tokens_are_letters_in_a_text_and_ordinary_added_tokens_are_themselves",),
    ),
    Mutation(
        "a character that is cut off takes the whole ones before it along",
        "models/tokenizer.py",
        "    if any(is_byte for is_byte, _ in runs):",
        "    if False:",
        (CHAT + "test_of_text_that_is_cut_anywhere_every_whole_character_is_kept",),
    ),
    Mutation(
        "a loss that is no number goes on",
        "models/training/hf.py",
        "if not bool(torch.isfinite(loss).all()):",
        "if bool(torch.isfinite(loss).all()) and False:",
        (DIVERGENCE + "test_a_loss_that_is_no_number_stops_the_run_in_its_step",),
    ),
    # several processes: models/training/hf.py, sft.py
    Mutation(
        "each process takes the mean over its own tokens",
        "models/training/hf.py",
        '"average_tokens_across_devices": True',
        '"average_tokens_across_devices": False',
        (TWO_PROCESSES + AS_ONE,),
    ),
    Mutation(
        "each process and pass takes the mean over its own pairs",
        "models/training/hf.py",
        "losses.sum() / pairs * self.args.world_size",
        "losses.mean() / self.current_gradient_accumulation_steps",
        (TWO_PROCESSES + AS_ONE,),
    ),
    Mutation(
        "the batch grows with the number of processes",
        "models/config.py",
        "return rows // (self.accumulation_steps * self.processes)",
        "return rows // self.accumulation_steps",
        (TWO_PROCESSES + AS_ONE,),
    ),
    Mutation(
        "an epoch's last step is filled up with rows of its first",
        "models/training/hf.py",
        "if self.args.world_size == 1:\n            return super().get_train_dataloader()",
        "if self.args.world_size >= 1:\n            return super().get_train_dataloader()",
        (TWO_PROCESSES + AS_ONE,),
    ),
    Mutation(
        "rows that fill a short step up are not all taken equally often",
        "models/training/hf.py",
        "rows *= math.ceil(places / len(rows))",
        "rows += rows[: max(0, places - len(rows))]",
        (TWO_PROCESSES + "test_every_row_of_a_step_is_taken_equally_often_and_every_process_has_some_in_every_pass",),
    ),
    Mutation(
        "the wrapper that averages gradients is passed by",
        "models/lock_step.py",
        "return cast(T, wrapped(*inputs))",
        "return function(*inputs)",
        (TWO_PROCESSES + AS_ONE,),
    ),
    Mutation(
        "every process writes checkpoints",
        "models/training/hf.py",
        "here=self.is_world_process_zero(),",
        "here=True,",
        (
            "tests/models/training/test_sharding.py::"
            "test_a_model_that_is_spread_over_two_processes_learns_and_writes_what_one_process_does",
        ),
    ),
    Mutation(
        "whole models are trained in weights of bfloat16",
        "models/checkpoint.py",
        '"float32" if trainable and lora is None else dtype',
        "dtype",
        (PRECISION + AS_MANY,),
    ),
    Mutation(
        "weights on bfloat16's grid are trained from where they lie",
        "models/checkpoint.py",
        "            spread_in_rounding(model)\n",
        "            pass\n",
        (ROUNDING + "test_from_a_base_on_the_grid_sft_in_bfloat16_has_the_loss_curve_of_float32",),
    ),
    Mutation(
        "weights are spread beyond what rounds to them",
        "models/rounding.py",
        "away.clamp_(min=1 - _HALF)",
        "away.clamp_(min=-_HALF)",
        (ROUNDING + "test_every_number_of_bfloat16_is_what_its_spread_rounds_to",),
    ),
    Mutation(
        "weights that are read unrounded are spread too",
        "models/rounding.py",
        "parameter in spread_out",
        "parameter.dim() > 0",
        (ROUNDING + "test_under_bfloat16_a_forward_pass_stays_the_same_to_the_bit_in_every_family",),
    ),
    Mutation(
        "adapters are trained in the precision of their base",
        "models/checkpoint.py",
        'is_trainable=trainable, torch_device="cpu")',
        'is_trainable=trainable, torch_device="cpu", autocast_adapter_dtype=False)',
        (PRECISION + AS_MANY,),
    ),
    Mutation(
        "the forward pass of training is in float32 whatever the config says",
        "models/training/hf.py",
        "stack.enter_context(autocast(self.config.dtype))",
        'stack.enter_context(autocast("float32"))',
        (PRECISION + IN_PRECISION,),
    ),
    Mutation(
        "PPO samples and scores in another precision than it learns in",
        "models/training/ppo.py",
        "with autocast(config.dtype):\n        answers",
        'with autocast("float32"):\n        answers',
        (PRECISION + FIRST_RATIO,),
    ),
    Mutation(
        "gradient checkpointing is not handed on",
        "models/training/hf.py",
        '"gradient_checkpointing": config.gradient_checkpointing,',
        '"gradient_checkpointing": False,',
        (PRECISION + AGAIN,),
    ),
    Mutation(
        "the answers whose distance is measured are laid out on the CPU",
        "tasks/evaluations/divergence.py",
        "lay_out(asked, said, renderer.pad_id, device_of(policy))",
        "lay_out(asked, said, renderer.pad_id)",
        (DEVICES,),
    ),
    Mutation(
        "models that are read stay on the CPU",
        "models/checkpoint.py",
        "on or (CPU if trainable else device())",
        "on or CPU",
        (DEVICES,),
    ),
    Mutation(
        "the end of sequence serves as padding",
        "models/tokenizer.py",
        "return max(free, key=worth)[1] if free else cast(str | None, tokenizer.eos_token)",
        "return str(tokenizer.eos_token)",
        (PLAIN + "test_padding_is_what_each_family_keeps_free",),
    ),
    Mutation(
        "the config of a saved model keeps the padding of its base",
        "models/checkpoint.py",
        "config.eos_token_id, config.pad_token_id = end, None if pad == end else pad",
        "config.eos_token_id = end",
        (PLAIN + ALIKE,),
    ),
    Mutation(
        "every process writes the model",
        "models/training/sft.py",
        "if trainer.is_world_process_zero():",
        "if trainer.state.global_step:",
        (TWO_PROCESSES + AS_ONE,),
    ),
    # models/loading_report.py, models/base_checks, models/kv_cache.py, models/working_copy.py, models/verdicts.py
    Mutation(
        "weights that are missing are drawn at random",
        "models/loading_report.py",
        "if missing or unknown:",
        "if unknown:",
        (LOADING + "test_a_policy_without_its_own_head_is_refused",),
    ),
    Mutation(
        "weights that are not the model's are passed over",
        "models/loading_report.py",
        "if missing or unknown:",
        "if missing:",
        (LOADING + "test_weights_that_are_not_the_models_are_refused_wherever_it_is_opened",),
    ),
    Mutation(
        "weights that are missing in an adapter are passed over",
        "models/loading_report.py",
        "if found != wanted:",
        "if found - wanted:",
        (LOADING + "test_an_adapter_without_some_of_its_weights_is_refused",),
    ),
    Mutation(
        "a NaN is taken for a number",
        "models/base_checks/files.py",
        "if not all(map(_is_finite, _parts(file, name))):",
        "if not any(map(_is_finite, _parts(file, name))):",
        ("tests/models/base_checks/test_files.py::test_weights_are_looked_at_piece_by_piece",),
    ),
    Mutation(
        "a model that reads otherwise than alone is let through",
        "models/base_checks/reading.py",
        "if apart <= alone.tolerance:",
        "if apart <= 100:",
        (FAMILIES + "test_one_leak_is_found_wherever_it_is",),
    ),
    Mutation(
        "packed dialogues that are read into each other are let through",
        "models/base_checks/reading.py",
        "if difference <= alone.tolerance:",
        "if difference <= 100:",
        (
            FAMILIES + "test_one_leak_is_found_wherever_it_is",
            FAMILIES + "test_each_family_works_or_is_refused_by_name_as_the_page_says",
        ),
    ),
    Mutation(
        "states of linear attention stay where their rows have left",
        "models/kv_cache.py",
        "layer.reorder_cache(cast(torch.LongTensor, indices))",
        "layer.reorder_cache(cast(torch.LongTensor, torch.arange(len(indices))))",
        (FAMILIES + "test_each_family_works_or_is_refused_by_name_as_the_page_says",),
    ),
    Mutation(
        "the adapter is left out of what decoding reads",
        "models/working_copy.py",
        "copy.addmm_(down.t(), up.t(), alpha=scaling)",
        "copy.addmm_(down.t(), up.t(), alpha=0)",
        (COPY + "test_the_copy_computes_what_the_model_computes_which_is_as_it_was_to_the_bit_after",),
    ),
    Mutation(
        "the adapter is merged into the base itself",
        "models/working_copy.py",
        "copy = weight.t().contiguous()",
        "copy = weight.t()",
        (COPY + "test_the_copy_computes_what_the_model_computes_which_is_as_it_was_to_the_bit_after",),
    ),
    Mutation(
        "the adapter is left out of what is packed, and of what is read at once",
        "models/working_copy.py",
        "return torch.addmm(weight, up, down, alpha=scaling)",
        "return weight",
        (
            COPY + "test_the_copy_computes_what_the_model_computes_which_is_as_it_was_to_the_bit_after",
            COPY + "test_a_reading_gives_what_the_model_gives_which_is_as_it_was_to_the_bit_after",
        ),
    ),
    Mutation(
        "a pass that is learned from goes through merged weights",
        "models/working_copy.py",
        "if torch.is_grad_enabled() or (adapted and not pays_to_merge(x.numel() // d_in, d_in, d_out)):",
        "if adapted and not pays_to_merge(x.numel() // d_in, d_in, d_out):",
        (COPY + "test_a_pass_that_is_learned_from_is_the_models_own",),
    ),
    Mutation(
        "products by oneDNN on every processor",
        "models/onednn.py",
        'return large and cpu_maker() == "AuthenticAMD"',
        'return large and cpu_maker() != ""',
        ("tests/models/test_onednn.py::test_which_products_are_made_by_onednn_follows_from_processor_and_size_alone",),
    ),
    Mutation(
        "what is learned from is made by oneDNN on processors that nobody measured",
        "models/onednn.py",
        'known = LEARNED_FROM.get(cpu_family()) if cpu_maker() == "AuthenticAMD" else None',
        "known = LEARNED_FROM.get(cpu_family(), 0)",
        ("tests/models/test_onednn.py::test_what_is_learned_by_onednn_follows_from_processor_and_size_alone",),
    ),
    Mutation(
        "the way back through an adapted layer leaves its adapter out",
        "models/learning_pass.py",
        "of_x = of_x.addmm_(through, down, alpha=ctx.scaling).view(ctx.shape)",
        "of_x = of_x.view(ctx.shape)",
        (
            LEARNING + "test_an_adapted_layer_by_hand",
            LEARNING + "test_values_and_gradients_are_those_of_the_layers",
        ),
    ),
    Mutation(
        "an adapter's gradient without the scaling",
        "models/learning_pass.py",
        "of_down = (through.t() @ rows).mul_(ctx.scaling)",
        "of_down = (through.t() @ rows)",
        (LEARNING + "test_an_adapted_layer_by_hand", LEARNING + "test_values_and_gradients_are_those_of_the_layers"),
    ),
    Mutation(
        "trainers pass the kernel of their config by",
        "models/training/hf.py",
        "cast(nn.Module, self.model), self.config.kernel)",
        'cast(nn.Module, self.model), "torch")',
        (KERNEL + "test_a_training_learns_the_same_by_either_kernel_and_by_the_one_that_its_config_names",),
    ),
    Mutation(
        "a judge's logits as its head gives them",
        "models/verdicts.py",
        "values = logits[:, tokens.ids[0]].float() - logits[:, tokens.ids[1]].float()",
        "values = 4 * (logits[:, tokens.ids[0]].float() - logits[:, tokens.ids[1]].float())",
        (FAMILIES + "test_a_judge_is_read_by_the_logits_that_its_model_makes",),
    ),
    # models/algorithms/reliability.py, tasks/measure_reward_models.py, tasks/set_apart.py
    Mutation(
        "bins weigh the same, however many pairs they hold",
        "models/algorithms/reliability.py",
        "return math.fsum(each.n / n * each.gap for each in bins)",
        "return math.fsum(each.gap / len(bins) for each in bins if n)",
        (
            RELIABILITY + "test_the_error_by_hand",
            RELIABILITY + "test_the_error_is_that_of_a_histogram_of_numpy",
            MEASURED + "test_figures_of_one_model_on_one_set_by_hand",
        ),
    ),
    Mutation(
        "the probability of the preferred answer lies half as far from 1",
        "models/algorithms/reliability.py",
        "return 1 / (1 + math.exp(-abs(difference))), hit",
        "return 0.5 + 0.5 / (1 + math.exp(-min(abs(difference), 700))), hit",
        (
            RELIABILITY + "test_the_preferred_answer_has_the_greater_probability_whoever_chose_it",
            MEASURED + "test_figures_of_one_model_on_one_set_by_hand",
        ),
    ),
    Mutation(
        "an error that chance makes is taken for one",
        "models/algorithms/reliability.py",
        "return max(error - chance, 0.0), min(error + chance, 1.0)",
        "return max(error - chance / 20, 0.0), min(error + chance, 1.0)",
        (RELIABILITY + "test_the_interval_holds_the_true_error_of_a_sure_and_of_a_vain_model_and_tells_them_apart",),
    ),
    Mutation(
        "pairs on texts that are trained on test the models",
        "tasks/measure_reward_models.py",
        'unseen = [row for row in pairs if plain(row["messages"]) not in learned]',
        "unseen = pairs",
        (MEASURED + "test_both_models_are_measured_on_every_set_and_what_any_pair_trains_on_is_left_out",),
    ),
    Mutation(
        "a longer dialogue that begins with a text of a test trains",
        "tasks/set_apart.py",
        'told = [begins_with(_answered(messages), texts) for messages in read.rows.column("messages").to_pylist()]',
        'told = [begins_with(_answered(m)[-2:], texts) for m in read.rows.column("messages").to_pylist()]',
        ("tests/tasks/test_held_out.py::test_what_tests_reward_models_trains_nothing_wherever_it_stands",),
    ),
    # tasks/judging/refusal_phrases.py
    Mutation(
        "whatever is said later in an answer makes it a refusal",
        "tasks/judging/refusal_phrases.py",
        "_plain(answer)[:BEGINNING]",
        "_plain(answer)",
        (
            "tests/tasks/judging/test_refusal_phrases.py::"
            "test_an_apology_alone_part_of_a_word_and_what_stands_later_are_no_refusal",
        ),
    ),
    Mutation(
        "refusals of adversarial prompts are false refusals",
        "tasks/judging/judgements.py",
        'name = "adversarial_refusal"',
        'name = "false_refusal"',
        (JUDGEMENTS + "test_a_judgement_counts_in_the_figures_of_its_question_and_its_prompt",),
    ),
    # tasks/judging/judgements.py, tasks/evaluations/instructions.py, data_store/reading
    Mutation(
        "a category's rate is of all prompts",
        "tasks/judging/judgements.py",
        'category = slug(prompt.get("category") or "")',
        'category = "homonyms"',
        ("tests/tasks/judging/test_judgements.py::test_rates_by_category_and_by_turns_are_of_their_prompts_alone",),
    ),
    Mutation(
        "answers count as turns of the user",
        "tasks/judging/judgements.py",
        'turns = TURNS[sum(message["role"] == "user" for message in prompt["messages"]) > 1]',
        'turns = TURNS[len(prompt["messages"]) > 3]',
        ("tests/tasks/judging/test_judgements.py::test_rates_by_category_and_by_turns_are_of_their_prompts_alone",),
    ),
    Mutation(
        "prompts that are labelled unsafe are borderline",
        "data_store/reading/readers.py",
        'if harmless and record.fields.get("label") == "unsafe":',
        'if harmless and record.fields.get("label") == "harmful":',
        (
            "tests/data_store/reading/test_readers.py::"
            "test_the_category_is_in_the_first_field_that_a_record_has_and_what_is_labelled_unsafe_is_not_harmless",
        ),
    ),
    Mutation(
        "the instruction is said again in every turn",
        "tasks/evaluations/instructions.py",
        'if turn == 0 or where == "every" else question',
        "if where else question",
        (
            "tests/tasks/evaluations/test_instructions.py::"
            "test_each_turn_is_counted_by_itself_and_a_reminder_shows_what_was_forgotten",
        ),
    ),
    Mutation(
        "a word counts inside another one",
        "data_store/reading/instruction_checks.py",
        "return any(words[at : at + len(wanted)] == wanted for at in range(len(words) - len(wanted) + 1))",
        'return " ".join(wanted) in " ".join(words)',
        (
            "tests/data_store/reading/test_instruction_checks.py::"
            "test_an_answer_keeps_an_instruction_where_all_of_its_check_holds",
        ),
    ),
    # models/algorithms/intervals.py, tasks/estimates.py
    Mutation(
        "a rate's interval as that of the normal distribution",
        "models/algorithms/intervals.py",
        "middle = p + z2 / (2 * n)",
        "middle = p",
        (
            INTERVALS + "test_wilsons_interval_of_one_in_two_and_of_one_in_one_by_hand",
            INTERVALS + "test_wilsons_interval_is_that_of_statsmodels",
        ),
    ),
    Mutation(
        "the bootstrap draws half of the values",
        "models/algorithms/intervals.py",
        ".integers(0, n, (RESAMPLES, n))",
        ".integers(0, n, (RESAMPLES, n)) // 2",
        (INTERVALS + "test_the_bootstrap_is_scipys_percentile_bootstrap_of_the_mean",),
    ),
    Mutation(
        "where all outcomes are alike they are taken for certain",
        "tasks/estimates.py",
        "if len(set(outcomes)) == 1 or 0.5 not in outcomes:",
        "if 0.5 not in outcomes:",
        ("tests/tasks/test_estimates.py::test_ties_narrow_a_win_rate_and_where_all_are_alike_it_is_not_certain",),
    ),
    Mutation(
        "the journal forgets who judged",
        "data_store/catalog/metric_facts.py",
        "[m.name, m.n, _written(m.low), _written(m.high), m.judge]",
        "[m.name, m.n, _written(m.low), _written(m.high), None]",
        ("tests/data_store/catalog/test_estimates.py::test_an_estimate_is_what_it_was_after_journal_and_rebuilding",),
    ),
    Mutation(
        "dialogues are packed for a model that reads them into each other",
        "tasks/sft.py",
        "together=packs(run)",
        "together=True",
        ("tests/tasks/test_check_base.py::test_trainings_heed_what_was_found",),
    ),
    # models/algorithms/overlap.py, models/algorithms/contamination.py
    Mutation(
        "one more token than the skip-gram budget is skipped",
        "models/algorithms/overlap.py",
        "(skipped[going] <= self._skips)",
        "(skipped[going] <= self._skips + 1)",
        (OVERLAP + "test_four_tokens_may_be_skipped_and_are_not_counted_themselves", BY_DEFINITION),
    ),
    Mutation(
        "skipped tokens count as contaminated",
        "models/algorithms/overlap.py",
        "self._covered[places[equal]] = True",
        "self._covered[places] = True",
        (OVERLAP + "test_four_tokens_may_be_skipped_and_are_not_counted_themselves", BY_DEFINITION),
    ),
    Mutation(
        "a match goes over the end of a document",
        "models/algorithms/overlap.py",
        "_BETWEEN_SAMPLES, _BETWEEN_DOCUMENTS = -2, -1",
        "_BETWEEN_SAMPLES, _BETWEEN_DOCUMENTS = -1, -1",
        (BY_DEFINITION,),
    ),
    Mutation(
        "Z by the deviation of one score",
        "models/algorithms/contamination.py",
        "(sigma / math.sqrt(len(mine)))",
        "sigma",
        (
            CONTAMINATION + "test_z_by_hand",
            CONTAMINATION + "test_z_of_hellaswag_as_the_paper_reports_it",
        ),
    ),
    Mutation(
        "contaminated from a fifth of the tokens on, the fifth itself not",
        "models/algorithms/contamination.py",
        "return low <= share < high",
        "return low < share <= high",
        (CONTAMINATION + "test_the_limits_are_a_fifth_and_four_fifths_and_belong_to_the_contaminated_side",),
    ),
    # models/algorithms/pass_at_k.py, tasks/sandbox/
    Mutation(
        "pass@k as if programs were drawn anew",
        "models/algorithms/pass_at_k.py",
        "none *= 1 - k / i",
        "none *= (1 - correct / n) ** (k / correct)",
        (PASS_AT_K + "test_by_hand", PASS_AT_K + "test_it_is_the_share_of_all_choices_that_hold_a_correct_one"),
    ),
    Mutation(
        "programs keep the host's network",
        "tasks/sandbox/namespaces.py",
        "NEWNS | NEWUTS | NEWIPC | NEWPID | NEWNET |",
        "NEWNS | NEWUTS | NEWIPC | NEWPID |",
        (SANDBOX + "test_there_is_no_network_not_even_to_this_machine",),
    ),
    Mutation(
        "the libraries of the host can be written",
        "tasks/sandbox/namespaces.py",
        "(RDONLY | NOSUID | NODEV, 0, 0, 0)",
        "(NOSUID | NODEV, 0, 0, 0)",
        (SANDBOX + "test_nothing_outside_is_read_or_written",),
    ),
    Mutation(
        "memory of many processes together is not looked at",
        "tasks/sandbox/sandbox.py",
        'return "memory" if pages',
        'return "memory" if 0 * pages',
        (SANDBOX + "test_ten_gigabytes_are_not_given_to_one_process_nor_to_many_together",),
    ),
    Mutation(
        "a continuation of a text stands without a beginning of sequence",
        "models/continuations.py",
        "Continuation([*([] if bos is None else [bos]), *whole",
        "Continuation([*whole",
        (CONTINUATIONS + "test_a_text_is_encoded_as_one_with_one_beginning_of_sequence",),
    ),
    Mutation(
        "the end of the turn is part of a choice",
        "models/continuations.py",
        "if ids and ids[-1] in renderer.end_ids:",
        "if not ids:",
        (CONTINUATIONS + "test_an_answer_is_what_the_model_would_say_with_the_blank_of_its_template",),
    ),
    Mutation(
        "a choice is the likelier the longer it is",
        "tasks/run_benchmarks.py",
        "value / len(option)",
        "value * len(option)",
        (BENCHMARKED + "test_each_item_is_a_row_with_the_log_probability_of_each_choice",),
    ),
    Mutation(
        "prompts that were cut are not told",
        "tasks/benchmarks/answering.py",
        "if len(row.before) + len(row.ids) > limit:",
        "if len(row.before) > 1000 * limit:",
        (BENCHMARKED + "test_a_question_that_the_context_does_not_hold_loses_its_beginning",),
    ),
    Mutation(
        "a program that ends early with 0 has passed",
        "tasks/benchmarks/code.py",
        "code = 64 + secrets.randbelow(64)",
        "code = 0 * secrets.randbelow(64)",
        ("tests/tasks/benchmarks/test_code.py::test_a_program_that_ends_before_its_tests_has_not_passed",),
    ),
    Mutation(
        "a suite's interval is as wide as that of one benchmark",
        "models/algorithms/intervals.py",
        "return mean - below / k, mean + above / k",
        "return mean - below, mean + above",
        (
            INTERVALS + "test_the_interval_of_a_mean_of_figures_by_hand",
            INTERVALS + "test_the_interval_of_a_mean_of_figures_covers_what_it_should",
        ),
    ),
    Mutation(
        "a suite counts each item once",
        "tasks/estimates.py",
        "return Estimate(statistics.fmean(values), n, low, high, figures[0].judge)",
        "return Estimate(sum(each.value * each.n for each in figures) / n, n, low, high, figures[0].judge)",
        (
            "tests/tasks/benchmarks/test_results.py::"
            "test_accuracy_has_its_items_and_interval_and_a_suite_counts_each_benchmark_once",
        ),
    ),
    Mutation(
        "nothing waits for the benchmarks to be read",
        "flows/recipe/data_rows.py",
        "after=(check_base, import_benchmarks)",
        "after=(check_base,)",
        (
            "tests/flows/recipe/test_table.py::"
            "test_every_policy_is_put_to_the_benchmarks_and_nothing_is_done_before_they_are_read",
        ),
    ),
    Mutation(
        "a shared step without what it measured",
        "data_store/incoming/sharing.py",
        "tuple(writes), tuple(finished.metrics))",
        "tuple(writes), ())",
        (SHARING + WITH_ITS_RECORD,),
    ),
    Mutation(
        "a shared step that does not know who made what it read",
        "data_store/incoming/sharing.py",
        "i.version_id, i.producer_run_id) for i in inputs]",
        "i.version_id, None) for i in inputs]",
        (SHARING + WITH_ITS_RECORD,),
    ),
    Mutation(
        "a shared step that is known here already comes a second time",
        "data_store/incoming/sharing.py",
        "steps = [] if store.runs(run_id=run_id) else [step]",
        "steps = [step]",
        (SHARING + "test_content_that_was_collected_here_comes_back_under_the_run_that_is_known",),
    ),
    Mutation(
        "Ctrl-C in a query of DuckDB is a failure",
        "data_store/damage.py",
        "if str(error) == _STOPPED:",
        "if not str(error):",
        (
            "tests/data_store/test_damage.py::"
            "test_ctrl_c_in_the_middle_of_a_query_is_ctrl_c_and_no_failure_and_the_next_query_is_answered",
        ),
    ),
    Mutation(
        "seeds that share V0 have each their own",
        "flows/recipe/plan.py",
        "at.config.seed if at.number else seed_up_to_v0(at.config)",
        "at.config.seed",
        (
            "tests/flows/study/test_config.py::"
            "test_seeds_that_share_v0_differ_from_v1_on_and_the_first_is_the_run_as_it_would_be_alone",
        ),
    ),
    Mutation(
        "a batch of rows is as wide as a row in the mean",
        "flows/forecast/passes.py",
        "return replace(passes, tokens=passes.tokens * width, spread=square)",
        "return replace(passes, spread=square)",
        ("tests/flows/forecast/test_passes.py::test_the_columns_that_are_planned_are_those_that_the_sampler_reads",),
    ),
    Mutation(
        "steps that run at once get all of what the machine draws, each",
        "flows/energy.py",
        'kwh + drawn["kwh"] / len(self._drawn)',
        'kwh + drawn["kwh"]',
        ("tests/flows/test_energy.py::test_steps_that_run_at_once_get_like_parts_of_what_the_machine_draws",),
    ),
    Mutation(
        "an interval over seeds of the deviation of the seeds alone",
        "flows/study/results.py",
        "statistics.stdev(values) / math.sqrt(len(values))",
        "statistics.pstdev(values) / math.sqrt(len(values))",
        (RESULTS + "test_the_interval_is_students_t_by_hand",),
    ),
    Mutation(
        "an interval with a degree of freedom too many",
        "flows/study/results.py",
        "T_95[len(values) - 2]",
        "T_95[len(values) - 1]",
        (RESULTS + "test_the_interval_is_students_t_by_hand",),
    ),
    Mutation(
        "a backward pass that costs once",
        "models/costs.py",
        "passes = 1 + (1 if frozen else 2)",
        "passes = 1 + (1 if frozen else 1)",
        (
            COSTS + "test_operations_are_those_that_torch_counts",
            COSTS + "test_training_is_three_forward_passes_two_with_frozen_weights_and_one_more_with_checkpointing",
        ),
    ),
    Mutation(
        "steps side by side that do not slow each other down",
        "flows/forecast/timing.py",
        "max(1.0, sum(speeds[each] for each in running) / whole)",
        "1.0",
        (
            "tests/flows/forecast/test_forecast.py::"
            "test_steps_side_by_side_slow_each_other_down_as_far_as_the_machine_is_full",
        ),
    ),
    Mutation(
        "answers that are planned to be drawn to their limit",
        "flows/forecast/passes.py",
        "return self.rows * self.alive",
        "return self.rows",
        ("tests/flows/forecast/test_passes.py::test_the_tokens_that_are_planned_are_those_that_the_sampler_draws",),
    ),
    Mutation(
        "a spread training that is not spread",
        "models/training/hf.py",
        "if config.shards > 1:",
        "if config.shards > 99:",
        ("tests/models/training/test_sharding.py::test_each_process_holds_half_of_weights_and_moments",),
    ),
    Mutation(
        "the mean of the processes' gradients taken for their sum",
        "models/training/sharding.py",
        "module.set_gradient_divide_factor(1.0)",
        "module.set_gradient_divide_factor(2.0)",
        (PPO_SHARDED + "test_rollouts_losses_weights_and_files_are_those_of_one_process",),
    ),
    Mutation(
        "the base of five roles spread five times",
        "models/training/sharding.py",
        "each._parameters[name] = parts.setdefault(was, cast(nn.Parameter, each._parameters[name]))",
        "parts.setdefault(was, cast(nn.Parameter, each._parameters[name]))",
        (PPO_SHARDED + "test_the_base_of_five_roles_is_spread_once_and_each_process_holds_half_of_all",),
    ),
    Mutation(
        "a process that is done with its answers goes away",
        "models/lock_step.py",
        "while _anybody(False):",
        "while False:",
        ("tests/models/test_lock_step.py::test_processes_that_draw_unequal_numbers_of_answers_draw_what_one_draws",),
    ),
    Mutation(
        "of a spread policy that is kept each process writes what it holds",
        "models/training/sharding.py",
        "complete = whole(each.detach())\n",
        "complete = own(each.detach())\n",
        ("tests/models/training/test_sharding.py::test_dpo_of_all_weights_keeps_the_policy_that_one_process_keeps",),
    ),
    Mutation(
        "each process writes its checkpoint by its own clock",
        "models/training/sharding.py",
        "distributed.broadcast(said, src=0)",
        "pass",
        ("tests/models/training/test_sharding.py::test_all_processes_write_a_checkpoint_when_the_main_one_does",),
    ),
    Mutation(
        "a head of a file of weights that is not filled up",
        "models/checkpoint_files.py",
        "8 + -(-len(text) // 8) * 8 + end",
        "8 + len(text) + end",
        (
            "tests/models/test_checkpoint_files.py::"
            "test_names_and_sizes_without_weights_are_those_of_files_that_were_written",
        ),
    ),
    Mutation(
        "a dry run that takes pairs beyond the context",
        "flows/forecast/shapes.py",
        "if length > context:",
        "if length > 2**20:",
        ("tests/flows/forecast/test_shapes.py::test_what_cannot_be_is_refused_by_its_field",),
    ),
    Mutation(
        "processor time without the computing",
        "tasks/engine/worker.py",
        "spent = used.ru_utime + used.ru_stime",
        "spent = used.ru_stime",
        (
            "tests/tasks/engine/test_worker.py::"
            "test_what_a_step_spends_on_processors_counts_its_own_processes_and_no_waiting",
        ),
    ),
    Mutation(
        "a gold reward model of the last iteration alone",
        "flows/recipe/conditions.py",
        "return collects(at) and at.config.reward.gold_percent > 0",
        "return collects(at) and at.config.reward.gold_percent > 0 and at.number >= at.config.iterations",
        (
            "tests/flows/recipe/test_plan.py::"
            "test_a_gold_reward_model_is_trained_in_each_iteration_and_read_by_its_judge_alone",
        ),
    ),
    Mutation(
        "tied embeddings counted twice",
        "models/costs.py",
        "(1 if shape.tie_embeddings else 2)",
        "2",
        (COSTS + "test_parameters_are_those_of_the_model_that_is_built",),
    ),
    Mutation(
        "differences of two answers are taken the wrong way round",
        "flows/shown/differences.py",
        "values = [b - a for _, a, b in pairs]",
        "values = [a - b for _, a, b in pairs]",
        (
            DIFFERENCES + "test_a_difference_is_of_pairs_so_what_is_hard_for_both_does_not_blur_it",
            DIFFERENCES + "test_the_other_way_round_a_difference_has_the_other_sign",
        ),
    ),
    Mutation(
        "texts are markup on the page",
        "flows/shown/report/page.py",
        "autoescape=True",
        "autoescape=False",
        (HOSTILE + "test_nothing_that_a_store_holds_becomes_an_element_or_an_attribute_of_the_page",),
    ),
    Mutation(
        "control characters reach the page",
        "flows/shown/report/page.py",
        "finalize=_shown",
        "finalize=None",
        (HOSTILE + "test_nothing_that_a_store_holds_becomes_an_element_or_an_attribute_of_the_page",),
    ),
    Mutation(
        "the safety classifier is measured on what it has learned",
        "tasks/train_safety_classifier.py",
        'texts, truth = _learned(sides["test"])',
        'texts, truth = _learned(sides["train"])',
        (CLASSIFIER + "test_what_it_is_measured_on_are_the_responses_to_prompts_that_are_held_out",),
    ),
    Mutation(
        "a source is held out and learned from all the same",
        "models/held_out_sources.py",
        "classifier = fit(features, _without(positives, positive), _without(negatives, negative))",
        "classifier = fit(features, positives, _without(negatives, negative))",
        (
            LEFT_OUT + "test_where_sides_share_nothing_held_out_sources_are_not_told_although_known_ones_are",
            TRAINED + "test_a_classifier_that_knows_its_sources_alone_is_refused_and_the_worst_source_is_named",
        ),
    ),
    Mutation(
        "a held-out source is compared with negatives that were learned",
        "models/held_out_sources.py",
        "classifier = fit(features, _without(positives, positive), _without(negatives, negative))",
        "classifier = fit(features, _without(positives, positive), negatives)",
        (LEFT_OUT + "test_the_area_of_a_source_is_that_of_all_its_pairs_each_judged_without_either_source",),
    ),
    Mutation(
        "a text of two sources is held out and learned at once",
        "tasks/quality_texts.py",
        "for text in texts if standing[text] == 1]",
        "for text in texts if standing[text]]",
        (TRAINED + "test_of_a_large_source_some_are_drawn_by_the_seed_and_a_text_of_two_sources_counts_in_none",),
    ),
    Mutation(
        "a classifier judges languages that it has not learned",
        "data_store/corpus/quality.py",
        "if language not in self.scores:",
        "if not self.scores:",
        (QUALITY + "test_documents_of_languages_without_a_classifier_are_left_alone_and_counted",),
    ),
    Mutation(
        "a threshold loses more of a source than it may",
        "models/held_out_sources.py",
        "math.floor(max_lost_share * len(scores))",
        "math.ceil(max_lost_share * len(scores))",
        (LEFT_OUT + "test_the_threshold_is_the_highest_that_loses_at_most_the_share_of_each_source",),
    ),
    Mutation(
        "an answer that a judge prefers in one order alone is a win",
        "tasks/judging/of_answers.py",
        "return first if first == second else 0.5",
        "return max(first, second)",
        (ASKING + "test_only_what_survives_the_exchange_of_the_answers_is_a_win_or_a_loss",),
    ),
    Mutation(
        "what is judged against a later policy counts as a win against SFT",
        "tasks/judging/judgements.py",
        'other = "" if against == SFT or against is None else f"/against_{called(against)}"',
        'other = ""',
        (JUDGEMENTS + "test_a_judgement_counts_in_the_figures_of_its_question_and_its_prompt",),
    ),
    Mutation(
        "the policy that is judged always answers as A",
        "tasks/judging/by_people.py",
        """return int(text_hash(f"side {row['question_id']}")[:8], 16) % 2 == 1""",
        "return True",
        (PEOPLE + "test_which_answer_is_a_is_drawn_for_each_pair_and_nothing_else_tells_them_apart",),
    ),
    Mutation(
        "what people say of A counts for the policy, whichever side it stood on",
        "tasks/judging/by_people.py",
        'if shown == (row["other"], row["response"]):\n        return "b"',
        'if shown == (row["other"], row["response"]):\n        return "a"',
        (
            PEOPLE + "test_the_majority_of_what_people_say_decides_and_unsure_is_for_neither",
            PEOPLE + "test_the_label_of_a_pair_says_whether_the_policys_answer_is_unsafe",
            PEOPLE + "test_who_refuses_is_said_by_side",
        ),
    ),
    Mutation(
        "what people say of the policy's answer counts for the other policy's",
        "tasks/judging/by_people.py",
        'side = _OTHER_SIDE.get(self.mine or "") if of_other else self.mine',
        "side = self.mine",
        (PEOPLE + "test_the_label_of_a_pair_says_the_same_of_the_answer_of_a_policy_by_name",),
    ),
    Mutation(
        "answers of another policy count in the rate of this one",
        "tasks/judging/judgements.py",
        'name += "" if against is None else f"/of_{called(against)}"',
        "pass",
        (
            JUDGEMENTS
            + "test_another_policys_rate_is_its_own_and_the_difference_is_of_the_prompts_of_which_both_are_known",
        ),
    ),
    Mutation(
        "an interval of agreement that holds no sampling of items",
        "models/algorithms/agreement.py",
        "drawn = rng.integers(0, n, n)",
        "drawn = np.arange(n)",
        (AGREEMENT + "test_the_interval_of_ac2_by_hand_where_items_are_alike_or_too_few",),
    ),
    Mutation(
        "rows that one side lacks are counted for the other",
        "flows/shown/diff/contents.py",
        "only_a, only_b = _lacking(ours, theirs), _lacking(theirs, ours)",
        "only_b, only_a = _lacking(ours, theirs), _lacking(theirs, ours)",
        ("tests/flows/shown/diff/test_contents.py::test_rows_are_added_dropped_changed_and_kept_by_key_and_content",),
    ),
    Mutation(
        "a law of losses may rise",
        "flows/study/scaling.py",
        "return self.explained >= _FITS and self.exponent > 0",
        "return self.explained >= _FITS",
        ("tests/flows/study/test_scaling.py::test_what_does_not_fall_in_a_line_has_no_law_and_two_points_are_none",),
    ),
    Mutation(
        "Arrow's pre-buffer holds what was read",
        "data_store/files.py",
        "buffer_size=_READ_BYTES, pre_buffer=False",
        "buffer_size=_READ_BYTES, pre_buffer=True",
        ("tests/data_store/test_files.py::test_a_file_that_is_read_in_batches_is_not_held",),
    ),
    Mutation(
        "near duplicates are told by a band alone",
        "data_store/corpus/near_duplicates.py",
        "if similarity(sketch, other) >= self._config.near_duplicate_similarity:",
        "if len(other):",
        (CORPUS + "test_of_a_chain_of_near_duplicates_each_that_no_kept_one_is_like_stays",),
    ),
    Mutation(
        "dropped documents are compared with, too",
        "data_store/corpus/filtering.py",
        "            dropped.append(of.repeating(row, doc_id, source, *repeated))\n            continue\n",
        "            dropped.append(of.repeating(row, doc_id, source, *repeated))\n",
        (CORPUS + "test_of_a_chain_of_near_duplicates_each_that_no_kept_one_is_like_stays",),
    ),
    Mutation(
        "what one process judges is not compared with what another one does",
        "data_store/corpus/filtering.py",
        "write(*_compared(each, comparisons, counts))",
        "write(*_compared(each, [of.comparison(config, Path(tempfile.mkdtemp()), 0) for of in CORPUS_FILTERS], "
        "counts))",
        (SIDE_BY_SIDE + "test_a_duplicate_across_the_border_of_two_processes_is_dropped_whichever_is_done_first",),
    ),
    Mutation(
        "what is done waits for its turn without a bound",
        "data_store/corpus/processes.py",
        "given - taken < _AT_ONCE * self._most and ",
        "",
        ("tests/data_store/corpus/test_processes.py::test_two_items_a_process_are_read_ahead_and_no_more",),
    ),
    Mutation(
        "elsewhere a verdict is read with its letters exchanged",
        "tasks/engine/on_ray/shard_work.py",
        "VerdictTokens(shard.verdict.before, shard.verdict.ids)",
        "VerdictTokens(shard.verdict.before, (shard.verdict.ids[1], shard.verdict.ids[0]))",
        (SPREAD + "test_what_shards_elsewhere_give_is_what_shards_here_give",),
    ),
    Mutation(
        "how many processes judge documents is part of what made a version",
        "flows/recipe/filter_row.py",
        "return FilterConfig(**only(FilterConfig, at.config.filter))",
        "return at.config.filter",
        (
            "tests/flows/recipe/test_filter_row.py::"
            "test_how_many_processes_judge_is_told_to_the_step_and_stands_in_no_fingerprint",
        ),
    ),
    Mutation(
        "the annealed part is read by the weights of the rest",
        "models/training/mix.py",
        "np.where(numbers < self.turn, first, last)",
        "np.where(numbers <= self.rows, first, last)",
        ("tests/models/training/test_mix.py::test_every_stretch_of_rows_holds_the_shares_of_its_phase",),
    ),
    Mutation(
        "every epoch reads a source in the same order",
        "models/training/mix.py",
        "np.random.Philox(key=[self.seed % 2**64, epoch])",
        "np.random.Philox(key=[self.seed % 2**64, 0])",
        ("tests/models/training/test_mix.py::test_an_epoch_reads_every_token_once_and_the_next_one_in_another_order",),
    ),
    Mutation(
        "held-out documents are trained on",
        "tasks/pretrain_sources.py",
        ' and row["doc_id"] not in kept_out',
        "",
        (
            "tests/tasks/test_pretrain_sources.py::test_documents_are_dealt_out_by_file_and_what_is_held_out_is_not_read",
        ),
    ),
    Mutation(
        "a stage of the filter is told what came before it, not what it left",
        "data_store/corpus/counts.py",
        "            documents, characters = left\n",
        "",
        ("tests/tasks/test_filter_corpus.py::test_each_file_is_counted_before_and_after_each_stage",),
    ),
    Mutation(
        "the first documents of a corpus stand for all of it",
        "tasks/describe_corpus.py",
        "chosen = islice(rows, 0, None, every)",
        "chosen = islice(rows, 100)",
        ("tests/tasks/test_describe_corpus.py::test_of_a_large_corpus_every_so_many_th_document_is_looked_at",),
    ),
    Mutation(
        "Korean words are looked for in the middle of others",
        "data_store/corpus/describing.py",
        "heads = {word[:length] for word in set(_HANGUL_WORD.findall(sample)) for length in lengths}",
        "heads = {word[n : n + m] for word in set(_HANGUL_WORD.findall(sample)) for m in lengths for n in range(9)}",
        ("tests/data_store/corpus/test_describing.py::test_korean_words_are_known_by_their_beginnings",),
    ),
    Mutation(
        "a number that is written onto a Korean word is none",
        "data_store/corpus/batch.py",
        "(words.syllables + 1) // 2 + words.is_mixed",
        "(words.syllables + 1) // 2",
        (
            "tests/data_store/corpus/test_filtering.py::"
            "test_a_number_or_a_latin_name_that_korean_writes_onto_a_word_is_a_word_of_its_own",
        ),
    ),
    Mutation(
        "what the classifier does not know stays however long it is",
        "data_store/corpus/language.py",
        "drops = unlikely or (wanted < _ENOUGH_OF_MANY and batch.n_words[index] >= _SURE_WORDS)",
        "drops = unlikely",
        (LANGUAGE + "test_eight_words_of_which_no_kept_language_is_likely_are_dropped_and_fewer_are_not",),
    ),
    Mutation(
        "names at the head of a text are its language",
        "data_store/corpus/language.py",
        "if share <= _PARTLY_ENGLISH or batch.n_words[index] < _LONG:",
        "if share > 0:",
        (LANGUAGE + "test_english_behind_a_long_list_of_names_is_english",),
    ),
    Mutation(
        "a file of which too many rows would be left out is found when its turn comes",
        "tasks/file_roles.py",
        "return [fault] if fault else []",
        "return []",
        (
            "tests/flows/test_data_look.py::"
            "test_a_file_of_which_too_many_rows_would_be_left_out_is_named_with_the_others_before_a_run",
        ),
    ),
    Mutation(
        "two years are a telephone number",
        "data_store/corpus/personal_numbers.py",
        " or _YEARS.fullmatch(number)",
        "",
        (PERSONAL + "test_two_years_and_a_date_are_no_telephone_number_though_a_text_calls",),
    ),
    Mutation(
        "check digits of cards are not looked at",
        "data_store/corpus/personal_numbers.py",
        "and len(set(digits)) > 1 and luhn(digits)",
        "and len(set(digits)) > 1",
        (PERSONAL + "test_a_number_that_misses_its_check_digit_or_its_date_is_nobodys",),
    ),
    # steps on other machines
    Mutation(
        "a file of a step done elsewhere may be of any content",
        "tasks/engine/remote/sent.py",
        "if fault is not None:",
        'if fault == "missing":',
        (ELSEWHERE + "test_what_is_not_there_as_it_was_told_is_no_result",),
    ),
    Mutation(
        "a file of a step done elsewhere may lie outside of its output",
        "tasks/engine/remote/messages.py",
        'any(part in ("", ".", "..") for part in path.split("/"))',
        'any(part in ("", ".") for part in path.split("/"))',
        (ELSEWHERE + "test_a_message_that_is_none_is_refused",),
    ),
    Mutation(
        "a step is done elsewhere by whatever code is there",
        "tasks/engine/remote/received.py",
        "if mine != theirs:",
        "if not mine:",
        (ELSEWHERE + "test_other_code_is_refused_with_both_hashes_before_anything_runs",),
    ),
    Mutation(
        "a step goes on although its flow says nothing any more",
        "tasks/engine/remote/line.py",
        "elif time.monotonic() - self._heard > LEASE_SECONDS:",
        "elif time.monotonic() < self._heard:",
        (ELSEWHERE + "test_a_step_whose_flow_says_nothing_any_more_ends",),
    ),
    Mutation(
        "a step whose machine died is not sent again",
        "tasks/engine/execute.py",
        "                if not left:",
        "                if left >= 0:",
        (ELSEWHERE + "test_a_step_that_was_killed_elsewhere_goes_on_from_its_checkpoint_there",),
    ),
    Mutation(
        "a machine that says nothing any more is waited for",
        "tasks/engine/remote/sent.py",
        "            if time.monotonic() - self._heard > SILENT_SECONDS:",
        "            if time.monotonic() < self._heard:",
        (ELSEWHERE + "test_a_machine_that_says_nothing_any_more_is_lost_and_the_step_sent_to_another",),
    ),
    # trainings over several nodes
    Mutation(
        "a node that took part goes on as if it had what was made",
        "models/training/processes.py",
        "        if nodes.node:",
        "        if nodes.node < 0:",
        (MEETING + "test_two_nodes_of_one_process_each_add_up_and_the_second_has_nothing_left_to_do",),
    ),
    Mutation(
        "gloo looks for the other nodes where this machine's name leads",
        "models/training/nodes.py",
        "            if socket.inet_ntoa(told[20:24]) == address:",
        "            if socket.inet_ntoa(told[20:24]) == address and False:",
        (MEETING + "test_the_interface_of_an_address_is_found_by_it",),
    ),
    Mutation(
        "the node that has no checkpoint gives that to the others",
        "models/training/node_state.py",
        "    giver = steps.index(max(steps))",
        "    giver = steps.index(min(steps))",
        (NODES + "test_a_training_that_was_killed_goes_on_from_the_newest_checkpoint_whichever_node_has_it",),
    ),
    Mutation(
        "of what ended two nodes the last is told",
        "models/training/meeting.py",
        "ticket <= first.ticket else",
        "ticket >= first.ticket else",
        (MEETING + "test_what_ends_the_process_of_one_node_ends_both_at_once_and_both_say_it",),
    ),
    Mutation(
        "nodes need not share the processes evenly",
        "flows/resources.py",
        "if training.processes % nodes or training.processes < nodes:",
        "if training.processes < nodes:",
        (RESOURCES + "test_nodes_share_the_processes_of_a_training_evenly_and_are_no_part_of_it",),
    ),
    # shards on a Ray cluster
    Mutation(
        "the parts of one shard after another are taken for those of the other",
        "models/shards.py",
        "return [items[number::shards] for number in range(shards)]",
        "return [items[number::shards] for number in reversed(range(shards))]",
        (SPREAD + "test_parts_are_those_of_one_machine_and_come_together_in_order",),
    ),
    Mutation(
        "a shard that is lost ends the step",
        "tasks/engine/on_ray/spread.py",
        "sent[i] >= self._told.attempts",
        "sent[i] >= 1",
        (SPREAD + "test_a_lost_shard_is_done_again_alone_and_one_that_ran_twice_has_one_result",),
    ),
    Mutation(
        "a worker may draw ids that the vocabulary does not have",
        "tasks/engine/on_ray/shards.py",
        "if max(drawn.ids) >= vocabulary:",
        "if max(drawn.ids) > vocabulary:",
        (SPREAD + "test_responses_that_cannot_have_come_of_a_shard_are_refused",),
    ),
    Mutation(
        "a shard is drawn by whatever code is there",
        "tasks/engine/on_ray/shard_process.py",
        "if shard.code.get(path) != mine[path])",
        "if path not in shard.code)",
        (SPREAD + "test_other_code_where_a_shard_is_done_is_refused_by_name",),
    ),
    Mutation(
        "the name of a shard does not hang on its seeds",
        "tasks/engine/on_ray/shards.py",
        "    return hashlib.sha256(order).hexdigest()",
        "    return hashlib.sha256(order.replace(b'\"seed\":10', b'\"seed\":9')).hexdigest()",
        (SPREAD + "test_the_name_of_a_shard_hangs_on_all_that_decides_its_result",),
    ),
    Mutation(
        "what a default sends away includes what reads this disk",
        "flows/resources.py",
        "return HERE if _needs_this_machine(call) else resources.get(DEFAULT, HERE)",
        "return resources.get(DEFAULT, HERE)",
        (RESOURCES + "test_a_step_that_reads_the_disk_here_is_refused_by_name_and_left_here_by_the_default",),
    ),
    # objects in a bucket
    Mutation(
        "content is put over what lies there",
        "data_store/content/bucket.py",
        'obstore.put(self._store, key, content, mode="create", use_multipart=False)',
        'obstore.put(self._store, key, content, mode="overwrite", use_multipart=False)',
        (BUCKET + "test_what_lies_there_is_never_replaced",),
    ),
    Mutation(
        "a copy here counts as stored",
        "data_store/content/bucket_objects.py",
        "return self.exists(sha256) and (self._has_copy(sha256)",
        "return (self._has_copy(sha256)",
        (BUCKET + "test_the_bucket_is_the_truth_and_a_copy_alone_is_not_enough",),
    ),
    Mutation(
        "what the bucket gives is believed",
        "data_store/content/bucket_objects.py",
        "if copy_hashing(reader, draft) != sha256:",
        "if not copy_hashing(reader, draft):",
        (BUCKET + "test_what_the_bucket_gives_is_held_against_its_name_before_it_is_seen",),
    ),
    Mutation(
        "a copy that a checkout holds makes room",
        "data_store/content/bucket_objects.py",
        "if stat.st_nlink == 1:",
        "if stat.st_nlink:",
        (BUCKET + "test_the_longest_unused_copies_make_room_and_what_a_checkout_holds_stays",),
    ),
    Mutation(
        "nobody asks whose place it is",
        "data_store/content/bucket_owner.py",
        "if theirs != store:",
        "if not theirs:",
        (BUCKET + "test_a_place_has_one_owner",),
    ),
    Mutation(
        "a store is switched before the new place was read",
        "data_store/upkeep/moving_objects.py",
        "        if new.fault(sha256, size, deep=True):\n",
        "        if new.fault(sha256, size, deep=False):\n",
        (MOVING + "test_damage_in_the_new_place_is_found_before_the_switch",),
    ),
    Mutation(
        "a reader does not ask what other machines have appended",
        "data_store/catalog/journal_table.py",
        "return reach > seq",
        "return False",
        (TABLE + "test_each_machine_sees_the_heads_the_other_moved_and_judges_by_them",),
    ),
    Mutation(
        "who appends to the table does not wait for others",
        "data_store/catalog/entry_table.py",
        "pg_advisory_xact_lock({lock})",
        "{lock}",
        (
            "tests/data_store/catalog/test_table_deaths.py::"
            "test_eight_writers_of_two_machines_lose_nothing_and_both_catalogs_say_the_same",
        ),
    ),
    Mutation(
        "the collector shares its lock with the writers of other machines",
        "data_store/catalog/others.py",
        "self._take(key, shared=False, wait_seconds=wait_seconds)",
        "self._take(key, shared=True, wait_seconds=wait_seconds)",
        (TABLE + "test_the_collector_of_one_machine_and_the_content_of_another_keep_each_other_out",),
    ),
    Mutation(
        "a step is at work only where its process is of this machine",
        "tasks/engine/alone.py",
        "return _is_locked(folder) or store.catalog.journal.others.is_held(folder.name)",
        "return _is_locked(folder)",
        (TABLE + "test_a_step_of_one_machine_is_at_work_for_the_other_which_keeps_what_it_reads",),
    ),
    Mutation(
        "a table is written to although the journal was moved away",
        "data_store/catalog/entry_table.py",
        "if begun.fetchall()[0][0] != OPEN:",
        "if begun.fetchall()[0][0] == FILLING:",
        (MOVING_JOURNAL + "test_a_table_that_is_another_stores_or_was_left_is_written_to_by_nobody",),
    ),
    Mutation(
        "a stranger's places.json is followed",
        "data_store/upkeep/foreign.py",
        'if not isinstance(places, dict) or places.get("objects") or places.get("journal"):',
        "if not isinstance(places, dict):",
        (MOVING_JOURNAL + "test_a_strangers_places_are_never_followed",),
    ),
    Mutation(
        "what is kept of a bad row has the path of the copy that was read",
        "data_store/reading/bad_rows.py",
        "Refusal(source, BAD_ROW, _named(str(error), source))",
        "Refusal(source, BAD_ROW, str(error))",
        (
            "tests/tasks/test_import_files.py::"
            "test_rows_that_cannot_be_read_are_left_out_and_counted_where_the_config_has_it_so",
        ),
    ),
    Mutation(
        "a data card does not tell the types of its columns",
        "flows/shown/data_card.py",
        "dataset_info=[",
        "untold=[",
        ("tests/flows/commands/test_cards.py::test_a_column_may_be_null_for_longer_than_datasets_looks",),
    ),
    # models/samplers
    Mutation(
        "a server is believed whatever its log-probabilities are",
        "models/samplers/served.py",
        "if not distance <= bound:",
        "if not distance <= 10 * bound:",
        (SERVED + "test_a_server_is_believed_within_the_bound_of_its_precision_and_asked_for_nothing_beyond_it",),
    ),
    Mutation(
        "a server is not compared anew after the policy was changed",
        "models/samplers/served.py",
        """        self._compared = compared
""",
        """        self._compared = True
""",
        (SERVED + "test_a_server_is_believed_within_the_bound_of_its_precision_and_asked_for_nothing_beyond_it",),
    ),
    Mutation(
        "PPO learns from the server's log-probabilities",
        "models/training/rollouts.py",
        "if roles.server is not None or torch.is_autocast_enabled(",
        "if torch.is_autocast_enabled(",
        (
            POLICY_SERVER
            + "test_each_policy_is_given_to_the_server_under_a_name_of_its_own_and_draws_by_its_own_log_probabilities",
        ),
    ),
    Mutation(
        "weights of another engine that are not truncated",
        "models/algorithms/ppo.py",
        ".detach().exp().clamp(max=cap)",
        ".detach().exp()",
        (PPO_LOSS + "test_weights_of_another_engine_by_hand",),
    ),
    Mutation(
        "answers of other weights are learned from",
        "models/training/policy_server.py",
        "if not mean <= ANOTHER_MODEL:",
        "if mean > ANOTHER_MODEL + 9:",
        (POLICY_SERVER + "test_weights_count_beyond_rounding_alone_and_other_weights_are_found_out",),
    ),
    Mutation(
        "the responses to a prompt share one seed, and are one response",
        "models/samplers/served.py",
        'derive_seed(request.seed, "response", k)',
        'derive_seed(request.seed, "response", 0)',
        (SERVED + "test_each_response_is_asked_for_by_a_seed_of_its_own_whatever_else_is_asked",),
    ),
    Mutation(
        "a server ends answers where it takes an end for one",
        "models/samplers/served.py",
        '"ignore_eos": True',
        '"ignore_eos": False',
        (SERVED + "test_the_whole_distribution_is_asked_for_and_the_ends_of_the_template_alone",),
    ),
    Mutation(
        "an id outside of the vocabulary is taken from a server",
        "models/samplers/completions.py",
        "0 <= each < vocabulary",
        "0 <= each <= vocabulary",
        (COMPLETIONS + "test_what_cannot_be_a_response_is_refused",),
    ),
    Mutation(
        "a server's answer is heard without end",
        "models/bounded_http.py",
        "if time.monotonic() > deadline:",
        "if time.monotonic() > deadline + 60:",
        (
            "tests/models/test_bounded_http.py::test_a_body_that_comes_in_pieces_and_never_ends_is_given_up_after_the_time_of_one_request",
            "tests/models/samplers/test_client.py::test_an_answer_that_never_ends_is_given_up_after_the_time_of_one_request",
        ),
    ),
    Mutation(
        "a server outlives the step that started it",
        "models/samplers/guard.py",
        "while command.poll() is None and os.getppid() == parent:",
        "while command.poll() is None:",
        ("tests/models/samplers/test_server.py::test_what_a_killed_process_has_started_goes_as_a_whole",),
    ),
    Mutation(
        "who draws is no part of what made a version",
        "models/config.py",
        'exclude_if=lambda sampler: sampler == "torch",',
        "exclude=True,",
        (
            "tests/flows/recipe/test_samplers.py::"
            "test_the_sampler_is_part_of_what_made_a_version_of_the_steps_that_draw_by_it_and_of_no_other",
        ),
    ),
)


def main() -> int:
    parser = argparse.ArgumentParser(description="Break the code in one place at a time; every named test must fail.")
    parser.add_argument("words", nargs="*", help="only mutations that hold one of these words in file or description")
    words = parser.parse_args().words
    chosen = [m for m in MUTATIONS if not words or any(word in m.file + m.breaks for word in words)]
    survived = 0
    started = time.monotonic()
    for mutation, alive in tests_that_survive(chosen):
        verdict = "survived" if alive else "caught"
        survived += bool(alive)
        sys.stdout.write(f"{verdict}: {mutation.breaks} ({mutation.file})\n")
        for test, outcome in alive.items():
            sys.stdout.write(f"    {outcome}: {test}\n")
        sys.stdout.flush()
    seconds = time.monotonic() - started
    sys.stdout.write(f"{len(chosen) - survived} caught, {survived} survived, {seconds:.0f} s\n")
    return min(survived, 1)


if __name__ == "__main__":
    sys.exit(main())
