"""A look at a dataset in words and tables: a screenful for a terminal, everything as JSON.

Names of classes and files are somebody else's: each passes `forms.foreign` or `forms.printed`.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from bench.data.overview import ClassCount, Look
from bench.probes import ProbeResult, Suspect
from bench.reporting import forms

CLASSES_SHOWN = 12
SUSPECTS_SHOWN = 20


def render(look: Look, form: str = "console") -> str:
    """What is in it, then what is wrong with it.

    Args:
        look: what was found.
        form: ``console`` or ``markdown``.
    """
    blocks = [
        "\n".join(forms.foreign(line, form) for line in _summary(look)),
        _classes(look, form),
        "\n".join(forms.foreign(line, form) for line in _balance(look)),
        _warnings(look, form),
    ]
    return "\n\n".join(blocks)


def render_suspects(found: ProbeResult, form: str = "console") -> str:
    """Pictures that may be mislabelled, by name, the most striking first.

    Args:
        found: a probe that ended ``ok``.
        form: as for `render`.
    """
    name = forms.foreign(found.spec.backbone.name, form)
    seen = found.dataset.train + found.dataset.val if found.dataset else 0
    among = f"Among {seen:,} pictures, as {name} sees them, "
    if not found.suspects:
        return among + "none is surrounded by pictures of another class."
    number = len(found.suspects)
    what = "1 picture is" if number == 1 else f"{number:,} pictures are"
    lead = (
        f"{among}{what} surrounded by pictures of another class. Look at them: each is "
        "mislabelled, shows both, or is hard. Not every wrong label stands out like this."
    )
    shown = found.suspects[:SUSPECTS_SHOWN]
    titles = ["picture", "filed under", "looks like", "neighbours that agree"]
    names = _class_names(found)
    lines = [
        (s.name, names[s.label], names[s.neighbours_say], f"{100 * s.share:.0f}%") for s in shown
    ]
    more = number - len(shown)
    tail = f"\nand {more:,} more: bench data --format json lists them all" if more else ""
    return f"{lead}\n\n{forms.printed(titles, lines, form)}{tail}"


def as_json(look: Look, found: ProbeResult | None = None, note: str = "") -> str:
    """Everything, for a program.

    Args:
        look: what was found.
        found: a probe that looked for mislabelled pictures; None where there was none.
        note: why there was none.
    """
    content = asdict(look) | {
        "balance": look.balance,
        "chance": look.chance,
        "probe": None if found is None else _probe(found),
        "note": note,
    }
    return json.dumps(content, indent=1)


def _probe(found: ProbeResult) -> dict[str, object]:
    names = _class_names(found)
    return {
        "backbone": found.spec.backbone.name,
        "pictures": found.dataset.train + found.dataset.val if found.dataset else None,
        "linear": list(found.linear),
        "knn": found.knn,
        "suspects": [_suspect(s, names) for s in found.suspects],
    }


def _suspect(suspect: Suspect, names: Sequence[str]) -> dict[str, object]:
    said = {"class_name": names[suspect.label], "looks_like": names[suspect.neighbours_say]}
    return suspect.model_dump(include={"name", "picture", "split", "share"}) | said


def _class_names(found: ProbeResult) -> Sequence[str]:
    return found.dataset.class_names if found.dataset else ()


# ----------------------------------------------------------------------------------- the look


def _summary(look: Look) -> Iterator[str]:
    sizes = ", ".join(f"{look.size(name):,} {name}" for name in ("train", "val", "test"))
    given = [name for name in look.official if name != "train"]
    by = f"{' and '.join(given)} as given" if given else "split by Bench"
    yield (
        f"{look.dataset}: {look.pictures:,} pictures in {len(look.classes):,} classes: {sizes} "
        f"({by})"
    )
    if look.files:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in look.files.formats)
        least, median, most = look.files.shorter
        yield f"files: {kinds}; shorter side {least} to {most} pixels, median {median}"


def _classes(look: Look, form: str) -> str:
    """The largest and the smallest classes, if there are many."""
    ordered = sorted(look.classes, key=lambda c: -c.total)
    half = CLASSES_SHOWN // 2
    many = len(ordered) > CLASSES_SHOWN
    lines: list[tuple[forms.Cell, ...]] = [
        _line(c, look) for c in (ordered[:half] if many else ordered)
    ]
    if many:
        lines.append((f"... {len(ordered) - 2 * half:,} more", "", "", "", ""))
        lines += [_line(c, look) for c in ordered[-half:]]
    return forms.printed(("class", "train", "val", "test", "share"), lines, form)


def _line(count: ClassCount, look: Look) -> tuple[forms.Cell, ...]:
    share = count.total / max(sum(c.total for c in look.classes), 1)
    return (count.name, count.train, count.val, count.test, f"{100 * share:.1f}%")


def _balance(look: Look) -> Iterator[str]:
    yield (
        f"Always answering the most frequent class is right in {100 * look.chance:.1f}% of test; "
        f"the largest class has {look.balance:.1f} times the pictures of the smallest."
    )
    yield from look.caveats


def _warnings(look: Look, form: str) -> str:
    if not look.warnings:
        return "Nothing is wrong that can be seen without a model."
    lines = [f"{i}. {forms.foreign(text, form)}." for i, text in enumerate(look.warnings, 1)]
    return "\n".join(["What to see to, the worst first:", *lines])
