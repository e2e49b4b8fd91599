"""A run's report: what it shows, in which order."""

from data_store.records import now
from flows.session import Session
from flows.shown.report.benchmarks import benchmarks
from flows.shown.report.context_distillation import context_distillation
from flows.shown.report.corpus import corpus
from flows.shown.report.data import data, preferences
from flows.shown.report.dialogues import dialogues
from flows.shown.report.facts import facts_of
from flows.shown.report.lineage import lineage
from flows.shown.report.optimisation import optimisation
from flows.shown.report.page import Report
from flows.shown.report.process import cost, curves, environment, grid, redo
from flows.shown.report.results import results
from flows.shown.report.reward_models import reward_models
from flows.shown.report.sampling import sampling
from flows.shown.report.words import what_changed

_SECTIONS = (
    *(results, benchmarks, reward_models, sampling, optimisation, context_distillation, preferences, dialogues),
    *(grid, curves, corpus, data, lineage, cost, environment, redo),
)


def build_report(session: Session) -> Report:
    """All of it, of one state of the catalog: call it inside `one_look`."""
    facts = facts_of(session)
    config = session.config
    about = f"The run {config.name}, of its store alone."
    sections = [found for section in _SECTIONS if (found := section(facts)) is not None]
    return Report(config.name, config.description, about, now(), what_changed(facts), sections)
