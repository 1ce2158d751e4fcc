"""What is wrong with a dataset, in sentences: what it is, what it does to a model, what to do."""

import math
from collections.abc import Iterator, Sequence

from bench.data.overview import Look, Twins
from bench.records import SplitName

HELD: tuple[SplitName, ...] = ("val", "test")
"""Splits that nothing is learnt from."""

NAMED = 3
"""Pictures or classes that a sentence names at most."""

FEW = 10
"""Train pictures of a class below which what is learnt hangs on which ones they are."""

COARSE = 0.05
"""Half a 95% interval of an accuracy of 90%, above which a split tells little."""

UNBALANCED = 10.0
"""The largest class by the smallest: from here on accuracy hides how the small ones fare."""

MOSTLY_ONE = 0.8
"""Share of one class from which on accuracy says little."""

ODD = 0.05
"""Share of the pictures from which on their shape is worth a sentence."""


def sentences(look: Look) -> Iterator[str]:
    """The worst first: wrong labels, leaks, what is missing, what is few, what is odd."""
    yield from _labels(look)
    yield from _leaks(look)
    yield from _missing(look)
    yield from _few(look)
    yield from _unbalanced(look)
    yield from _odd(look)


def _labels(look: Look) -> Iterator[str]:
    if look.two_classes:
        yield (
            f"{_number(look.two_classes, 'picture is', 'pictures are')} filed under several "
            f"classes, byte for byte, so that all labels but one are wrong: "
            f"{_pairs(look.two_classes)}: delete the wrong copies"
        )
    if look.alike_classes:
        yield (
            f"{_number(look.alike_classes, 'pair of pictures looks', 'pairs of pictures look')} "
            f"the same under two classes: {_pairs(look.alike_classes)}: look at them, and delete "
            "those with the wrong label"
        )


def _leaks(look: Look) -> Iterator[str]:
    if look.two_splits:
        yield (
            f"{_number(look.two_splits, 'picture is', 'pictures are')} in several of the "
            f"dataset's own splits: {_pairs(look.two_splits, splits=True)}: Bench keeps them for "
            "test or val and leaves them out of the others; delete the copies in train, for other "
            "programs do not"
        )
    if look.alike_splits:
        held = {p.name for pair in look.alike_splits for p in pair if p.split in HELD}
        sizes = look.size("val") + look.size("test")
        yield (
            f"{len(held)} of {sizes} pictures of val and test look like one of another split "
            f"(the same picture, saved or scaled again): "
            f"{_pairs(look.alike_splits, splits=True)}: accuracy is too good by as much; delete "
            "one of each pair"
        )


def _missing(look: Look) -> Iterator[str]:
    if look.empty:
        yield (
            f"{_number(look.empty, 'class has', 'classes have')} no readable picture: "
            f"{_listed(look.empty)}: left out, so that no model will ever answer "
            f"{'it' if len(look.empty) == 1 else 'them'}; add pictures, or delete the folder"
        )
    if look.unreadable:
        yield (
            f"{_number(look.unreadable, 'picture', 'pictures')} cannot be read and "
            f"{'is' if len(look.unreadable) == 1 else 'are'} left out: "
            f"{_listed(look.unreadable, '; ')}: replace or delete"
        )
    for text in look.passed_over:
        yield f"not used: {text.replace(', not read', '').replace(': not read', '')}"


def _few(look: Look) -> Iterator[str]:
    for name in HELD:
        absent = [c.name for c in look.classes if not getattr(c, name)]
        if absent:
            yield (
                f"{name} has no picture of {_listed(absent)}: nothing is known of how well a "
                "model answers it; add pictures"
            )
    few = [f"{c.name} ({c.train})" for c in look.classes if c.train < FEW]
    if few:
        yield (
            f"fewer than {FEW} train pictures of {_listed(few)}: what a model learns of a class "
            "then hangs on which pictures they are; add some, or try several seeds and expect "
            "them to differ"
        )
    coarse = [s for s in HELD if _uncertainty(look.size(s)) > COARSE]
    if coarse:
        sizes = " and ".join(f"{s} ({look.size(s)} pictures)" for s in coarse)
        widest = max(_uncertainty(look.size(s)) for s in coarse)
        yield (
            f"{sizes} tell an accuracy of 90% to ±{100 * widest:.0f} points only: models that "
            "are closer cannot be told apart by it; add pictures, or give val and test a larger "
            "share"
        )


def _uncertainty(pictures: int) -> float:
    """Half the 95% interval of an accuracy of 90% on so many pictures."""
    return 1.96 * math.sqrt(0.9 * 0.1 / max(pictures, 1))


def _unbalanced(look: Look) -> Iterator[str]:
    share = look.largest.total / max(sum(c.total for c in look.classes), 1)
    if share >= MOSTLY_ONE or look.balance >= UNBALANCED:
        yield (
            f"always answering {look.largest.name} is right in {100 * share:.0f}% of the pictures, "
            f"and the largest class has {look.balance:.0f} times as many as the smallest: accuracy "
            "hides how small classes fare; look at them one by one, or add pictures to them"
        )


def _odd(look: Look) -> Iterator[str]:
    files = look.files
    if look.copies:
        yield (
            f"{look.copies} of the pictures are copies of others in their class and split: "
            "harmless, but they count more than once; delete them"
        )
    if files is None:
        return
    if files.misnamed:
        shown = [f"{name} is {kind}" for name, kind in files.misnamed]
        yield (
            f"{_number(shown, 'file is', 'files are')} of another format than the extension says: "
            f"{_listed(shown)}: Bench goes by the content; rename, for other programs do not"
        )
    if files.small > files.count / 2:
        yield (
            f"{files.small} of {files.count} pictures are smaller than {look.image_size} pixels "
            "and are enlarged, which adds work and no detail: try a smaller --image-size"
        )
    if files.long > ODD * files.count:
        yield (
            f"{files.long} of {files.count} pictures are more than 3 times as long as wide and "
            "are squeezed into squares: crop them to what matters first"
        )
    if files.animated:
        yield (
            f"{files.animated} of {files.count} pictures are animated or have several pages: the "
            "first frame counts"
        )


def _number(found: Sequence[object], one: str, more: str) -> str:
    return f"{len(found)} {one if len(found) == 1 else more}"


def _listed(names: Sequence[str], between: str = ", ") -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return between.join(names[:NAMED]) + more


def _pairs(groups: Sequence[Twins], splits: bool = False) -> str:
    shown = []
    for group in groups:
        some = [f"{p.name} ({(p.split or 'unused') if splits else p.class_name})" for p in group]
        shown.append(" = ".join(some[:NAMED]) + (" = ..." if len(some) > NAMED else ""))
    return _listed(shown, "; ")
