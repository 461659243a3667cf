"""Verdict sentence of a run: refusal drop, recovery by defenses, and cost.

Every share comes with its 95 % interval in brackets. Knows nothing of how it is displayed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fedsafe.report import depth_curves, measures
from fedsafe.report.defenses import PREFIX, Defense, names
from fedsafe.report.differences import PRICE, compared, prices, value_of
from fedsafe.report.measures import REFUSAL, UNSAFE, Measure, interval, percent
from fedsafe.runs.records import Rate, Scores, Stage
from fedsafe.runs.scores import HARMFUL, SHIELDED

NOTHING = "Nothing has been evaluated yet."


@dataclass(frozen=True)
class Story:
    """The stages that a run's verdict speaks of; any may be missing."""

    base: Stage | None
    aligned: Stage | None
    clean: Stage | None
    trained: Stage | None
    """The federation's result, attacked or trained; or an adapter from anywhere."""
    defended: tuple[Stage, ...]
    names: Mapping[str, str] = field(default_factory=dict)
    """How each stage is called."""
    asked: str = HARMFUL
    """What refusal is of: harmful prompts, or restricted requests of a stand-in policy."""

    @property
    def before(self) -> Stage | None:
        """What the attack is measured against."""
        return self.clean or self.start

    @property
    def start(self) -> Stage | None:
        """What the federation began with: the aligned model, or the base."""
        return self.aligned or self.base

    @property
    def best(self) -> Stage | None:
        """The defended stage that refuses most, as it is served."""
        known = [stage for stage in self.defended if refusal(stage) is not None]
        return max(known, key=lambda stage: value_of(refusal(stage)), default=None)

    @property
    def last(self) -> Stage | None:
        """The stage that the run ends with."""
        return self.best or self.trained or self.before

    def name(self, stage: Stage) -> str:
        """Return how a stage is called."""
        return self.names.get(stage.name, stage.name.removeprefix(PREFIX))


def tell(stages: Sequence[Stage], defenses: Mapping[str, Defense] | None = None) -> Story:
    """Return the roles that stages play."""
    named = {stage.name: stage for stage in stages}
    return Story(
        base=named.get("base"),
        aligned=named.get("aligned"),
        clean=named.get("clean"),
        trained=named.get("attacked") or named.get("trained") or named.get("given"),
        defended=tuple(stage for stage in stages if stage.name.startswith(PREFIX)),
        names=names(stages, defenses or {}),
        asked=next((stage.scores.asked for stage in stages if stage.scores.asked), HARMFUL),
    )


def sentence(stages: Sequence[Stage], defenses: Mapping[str, Defense] | None = None) -> str:
    """Return the verdict of a run, as far as it has come.

    Args:
        stages: What was evaluated.
        defenses: Defense of each defended stage, by name, for its settings.
    """
    story = tell(stages, defenses)
    if story.trained is None or refusal(story.trained) is None:
        seen = story.before
        if story.trained is not None or seen is None or refusal(seen) is None:
            return _without_refusal(story, stages)
        text = _before(story, seen)
    else:
        text = _federation(story, story.trained)
        if (best := story.best) is not None:
            text += f"; {_defense(story, best)}"
    return " ".join([f"{text}.", *_conditions(story)])


def refusal(stage: Stage | None) -> Rate | None:
    """Return the refusal of a stage as it is served: through its shield, if it has one."""
    if stage is None:
        return None
    found = stage.scores.rate("refusal", SHIELDED) or REFUSAL.read(stage.scores)
    return found if found is not None and found.value is not None else None


def _told(rate: Rate | None) -> str:
    """Return a share with its interval."""
    if rate is None:
        return measures.NONE
    bounds = interval(rate)
    return f"{percent(rate.value)} [{bounds}]" if bounds else percent(rate.value)


def _before(story: Story, seen: Stage) -> str:
    """Return what is known before the federation: of the alignment, where there is one."""
    after, before = refusal(seen), refusal(story.base)
    if seen is not story.aligned or before is None:
        return (
            f"Before any attack, {_told(after)} of {story.asked} are refused; the federation has "
            "not been evaluated yet"
        )
    moved, amount, certain = compared(after, before)
    if not certain:
        return f"Alignment left refusal of {story.asked} at {_told(after)}"
    verb, noun = ("lowered", "a drop") if moved < 0 else ("raised", "a gain")
    return (
        f"Alignment {verb} refusal of {story.asked} from {_told(before)} (base) to "
        f"{_told(after)}, {noun} of {amount}"
    )


def _federation(story: Story, trained: Stage) -> str:
    after, attacked = _told(refusal(trained)), trained.name == "attacked"
    before = refusal(story.before)
    if story.before is None or before is None:
        hows = {"attacked": "Under attack", "given": "As given"}
        how = hows.get(trained.name, "After the federation")
        return f"{how}, {after} of {story.asked} are refused"
    was = f"{_told(before)} ({story.before.name})"
    moved, amount, certain = compared(refusal(trained), before)
    if not certain:
        cause = "The attack" if attacked else "The federation"
        return f"{cause} left refusal of {story.asked} at {after}, against {was}"
    verb, noun = ("fell", "a drop") if moved < 0 else ("rose", "a gain")
    when = "under attack" if attacked else "over the federation"
    return f"Refusal of {story.asked} {verb} from {was} to {after} {when}, {noun} of {amount}"


def _defense(story: Story, best: Stage) -> str:
    name = story.name(best)
    if best.scores.rate("refusal", SHIELDED) is not None:
        name += " behind its shield"
    who = f"the best of {len(story.defended)} defenses, {name}," if story.defended[1:] else name
    reached, after = refusal(best), refusal(story.trained)
    moved, amount, certain = compared(reached, after)
    if not certain:
        text = f"{who} left it at {_told(reached)}"
    elif moved < 0:
        text = f"{who} brought it down to {_told(reached)}, a loss of {amount}"
    else:
        fell = compared(after, refusal(story.before))
        again = "back to" if fell[2] and fell[0] < 0 else "up to"
        text = f"{who} brought it {again} {_told(reached)}, a recovery of {amount}"
    price = list(prices(story.trained, best))
    return f"{text}, at a price: {' and '.join(price)}" if price else text


def _conditions(story: Story) -> Iterator[str]:
    """Yield how much is complied with under conditions that change it, at the end of the run."""
    last = story.last
    if last is None:
        return
    plain, shielded = UNSAFE.read(last.scores), last.scores.rate("unsafe", SHIELDED)
    served = shielded or plain
    who = story.name(last) if last.name.startswith(PREFIX) else f"the {last.name} model"
    asked = [(f"asked as '{c}'", r) for c, r in _under(last.scores) if c != SHIELDED]
    if shielded is not None and plain is not None:
        asked.append(("without its shield", plain))
    for how, rate in asked:
        moved, _, certain = compared(rate, served)
        if served is not None and not certain and abs(moved) < PRICE:
            continue
        yield f"{how[:1].upper()}{how[1:]}, {who} complies with {_told(rate)} of {story.asked}."


def _under(scores: Scores) -> list[tuple[str, Rate]]:
    """Return conditions with what is complied with; of several depths, the worst alone."""
    found: dict[str, tuple[str, Rate]] = {}
    for condition, rate in measures.under(scores, "unsafe"):
        if rate.value is None:
            continue
        family = condition.partition(":")[0]
        kind = family if family in depth_curves.UNITS else condition
        worst = found.get(kind)
        if worst is None or rate.value > (worst[1].value or 0.0):
            found[kind] = (measures.called(condition, scores), rate)
    return list(found.values())


def _without_refusal(story: Story, stages: Sequence[Stage]) -> str:
    """Return what was found where no harmful prompt was judged."""
    if not stages:
        return NOTHING
    parts = [story.before, story.trained, *story.defended[-1:]]
    course = [stage for stage in parts if stage is not None] or [stages[-1]]
    told = [
        _course(measure, course)
        for measure in measures.found(stage.scores for stage in course)
        if not measure.condition and any(_has(measure, stage) for stage in course)
    ]
    if not told:
        return (
            "The evaluation has no judged reply to a prompt that was asked plainly: the suites "
            "hold no prompts, condition plain is not among the conditions, or all are unknown."
        )
    return f"No harmful prompt was judged, so refusal is not known. {'; '.join(told[:3])}."


def _course(measure: Measure, stages: Sequence[Stage]) -> str:
    parts = []
    for stage in stages:
        rate = measure.read(stage.scores)
        if rate is not None and rate.value is not None:
            bounds = measure.interval(rate)
            value = f"{measure.say(rate.value)} [{bounds}]" if bounds else measure.say(rate.value)
            parts.append(f"{value} ({stage.name.removeprefix(PREFIX)})")
    return f"{measure.label} {' → '.join(parts)}"


def _has(measure: Measure, stage: Stage) -> bool:
    rate = measure.read(stage.scores)
    return rate is not None and rate.value is not None
