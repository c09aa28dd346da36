"""Which names of two folders belong together, also where they differ in form.

Names are compared in steps, each laxer than the one before: as they are; by Unicode form and case;
without what all names of a folder share (``a_sketch`` and ``a_colour``); without zeros in front of
numbers. Two names match at a step if there are no others like them in either folder.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence

MIN_NAMES = 2
"""In each folder, from which what they share may be left out."""
_KNOWN_WORDS = re.compile(
    r"^(?:sketch|line|lineart|colou?r(?:ed)?)[-_ .]+|"
    r"[-_ .]+(?:sketch(?:es)?|lines?|lineart|colou?r(?:s|ed)?)$"
)
_DIGITS = "0123456789"

Key = Callable[[str], str]


def match_names(left: Collection[str], right: Collection[str]) -> dict[str, str]:
    """Left names → right names where they match unambiguously; names are paths without suffix.

    What names share is left out only if it is a known word, or if nothing matched before.
    """
    matched: dict[str, str] = {}
    _match(left, right, str, str, matched)
    _match(left, right, folded, folded, matched)
    _match(left, right, _without_words, _without_words, matched)
    keys: tuple[Key, Key] = (_without_words, _without_words)
    if not matched and min(len(left), len(right)) >= MIN_NAMES:
        keys = (_without_shared(left), _without_shared(right))
        _match(left, right, *keys, matched)
    _match(left, right, _then_without_zeros(keys[0]), _then_without_zeros(keys[1]), matched)
    return matched


def folded(name: str) -> str:
    """One form of a name, whatever its Unicode form and case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def pattern_of(names: Collection[str]) -> str:
    """What names look like, for a message: the first three."""
    shown = sorted(names)[:3]
    return ", ".join(map(repr, shown)) + (", …" if len(names) > len(shown) else "")


def _match(
    left: Collection[str],
    right: Collection[str],
    left_key: Key,
    right_key: Key,
    matched: dict[str, str],
) -> None:
    """Add to ``matched`` the names that are alone in having equal keys."""
    taken = set(matched.values())
    lefts = _by_key((name for name in left if name not in matched), left_key)
    rights = _by_key((name for name in right if name not in taken), right_key)
    for key, names in lefts.items():
        if len(names) == len(rights.get(key, ())) == 1:
            matched[names[0]] = rights[key][0]


def _by_key(names: Iterable[str], key: Key) -> dict[str, list[str]]:
    by_key: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        by_key[key(name)].append(name)
    return by_key


def _without_words(name: str) -> str:
    folder, stem = _split(folded(name))
    return f"{folder}/{_KNOWN_WORDS.sub('', stem) or stem}"


def _without_shared(names: Collection[str]) -> Key:
    """A key without the prefix and the suffix that the names share; numbers stay whole."""
    stems = [_split(folded(name))[1] for name in names]
    prefix = _shared_start(stems).rstrip(_DIGITS)
    rests = [stem[len(prefix) :] for stem in stems]
    suffix = _shared_start([rest[::-1] for rest in rests]).rstrip(_DIGITS)[::-1]

    def key(name: str) -> str:
        folder, stem = _split(folded(name))
        return f"{folder}/{stem[len(prefix) : len(stem) - len(suffix)]}"

    return key


def _shared_start(texts: Sequence[str]) -> str:
    least, greatest = min(texts), max(texts)
    length = 0
    while length < len(least) and least[length] == greatest[length]:
        length += 1
    return least[:length]


def _then_without_zeros(key: Key) -> Key:
    return lambda name: re.sub(r"0+(?=[0-9])", _drop_leading_zeros, key(name))


def _drop_leading_zeros(zeros: re.Match[str]) -> str:
    before = zeros.string[: zeros.start()][-1:]
    return zeros.group() if before and before in _DIGITS else ""


def _split(name: str) -> tuple[str, str]:
    folder, _, stem = name.rpartition("/")
    return folder, stem
