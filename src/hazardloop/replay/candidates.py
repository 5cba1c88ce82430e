"""What is compared: rules as somebody would have them, in variants, against those of today."""

import itertools
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Final

from hazardloop.alarms.rule import Rule
from hazardloop.alarms.rules import load_rules
from hazardloop.devices.catalog import Catalog
from hazardloop.devices.marked_yaml import FileRefused, read_marked
from hazardloop.replay.errors import AskedWrongly

MOST_VARIANTS: Final = 400
TODAY: Final = "today"
CANDIDATE: Final = "candidate"


@dataclass(frozen=True, slots=True)
class Trial:
    """One set of rules that is replayed beside the others."""

    label: str
    """`today`, `candidate`, or the number of a variant."""
    rules: tuple[Rule, ...]
    changed: Mapping[str, Any]
    """Fields of a variant that differ from the rule as it was given."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is replayed, side by side."""

    trials: tuple[Trial, ...]
    refused: tuple[dict[str, Any], ...] = ()
    """Variants that are no rule, with why not."""

    def rules(self) -> tuple[Rule, ...]:
        """All of them, each under an id of its own."""
        return tuple(
            replace(rule, rule_id=f"{trial.label}:{rule.rule_id}")
            for trial in self.trials
            for rule in trial.rules
        )

    def places(self, label: str) -> range:
        """Where the rules of a trial stand among those."""
        start = 0
        for trial in self.trials:
            if trial.label == label:
                return range(start, start + len(trial.rules))
            start += len(trial.rules)
        raise LookupError(label)


def planned(
    given: Sequence[Rule], in_force: Sequence[Rule], instead_of: Sequence[str], variants: "Plan"
) -> Plan:
    """The given rules against those in force of the same ids, or of those that they replace.

    AskedWrongly: a rule to be replaced is none that is in force.
    """
    known = {rule.rule_id: rule for rule in in_force}
    if unknown := [one for one in instead_of if one not in known]:
        raise AskedWrongly(f"instead_of: no rule {unknown[0]!r} is in force")
    ids = dict.fromkeys([*(rule.rule_id for rule in given), *instead_of])
    today = tuple(known[one] for one in ids if one in known)
    trials = (Trial(TODAY, today, {}), Trial(CANDIDATE, tuple(given), {}), *variants.trials)
    return Plan(trials, variants.refused)


def read_candidates(text: str, name: str, catalog: Catalog) -> tuple[Rule, ...]:
    """The rules of a file `rules: [...]`. FileRefused: with every problem of theirs."""
    return load_rules(text, name, catalog)


def bodies_of(text: str, name: str) -> list[dict[str, Any]]:
    """The rules of such a file as they are written."""
    value = read_marked(text, name).value
    return list(value["rules"])


def varied(body: Mapping[str, Any], sweep: Mapping[str, Sequence[Any]], catalog: Catalog) -> Plan:
    """A rule in every combination of values for its fields, such as `high.yellow` or `deadband`.

    AskedWrongly: too many, a field that cannot be reached, or no combination is a rule.
    """
    many = 1
    for values in sweep.values():
        many *= len(values)
    if not 0 < many <= MOST_VARIANTS:
        raise AskedWrongly(f"sweep: {many} combinations, allowed are 1 to {MOST_VARIANTS}")
    trials, refused = list[Trial](), list[dict[str, Any]]()
    for nth, chosen in enumerate(itertools.product(*sweep.values())):
        changed = dict(zip(sweep, chosen, strict=True))
        text = json.dumps({"rules": [_with(body, changed)]}, default=str)
        try:
            trials.append(Trial(str(nth), load_rules(text, "variant", catalog), changed))
        except FileRefused as wrong:
            why = "; ".join(problem.message for problem in wrong.problems)
            refused.append({"changed": changed, "why": why})
    if not trials:
        raise AskedWrongly(f"sweep: no combination is a rule: {refused[0]['why']}")
    return Plan(tuple(trials), tuple(refused))


def _with(body: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, Any]:
    """The rule with these fields; `a.b` is field `b` of `a`."""
    made = deepcopy(dict(body))
    for path, value in changed.items():
        *folders, last = path.split(".")
        here = made
        for folder in folders:
            here = here.setdefault(folder, {})
            if not isinstance(here, dict):
                raise AskedWrongly(f"sweep: {path}: {folder} has no fields")
        here[last] = value
    return made
