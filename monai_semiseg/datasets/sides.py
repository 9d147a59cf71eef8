"""Detection of left and right classes, for which training must not mirror scans."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from monai_semiseg.errors import ConfigError

# Without accents and in lower case, each a whole word of a name. Words with other common meanings
# are left out (Spanish "der" is also a German article).
_LEFT = re.compile(
    r"""
    l|lh|lt|lefts?|sx|izdo|izda|izq|esq
    |link(s|e[rsnm]?|se)|li|linksseitige?[rsnm]?     # German, Dutch
    |gauches?                                         # French
    |izquierd[oa]s?|esquerd[oa]s?                     # Spanish, Portuguese
    |sinistr[oaie]                                    # Italian
    |sinister|sinistr(um|am|ae|os|as|is|orum|arum)    # Latin
    |lew(y|a|e|ego|ej|emu|ym|i|ych|ymi)               # Polish
    |lev(y|a|e|eho|ej|emu|ym|ou)|lav(y|a|e|eho|ej)    # Czech, Slovak
    |venstre|vanst(er|ra)                             # Danish, Norwegian, Swedish
    |vasen|vasemman?|vasemmanpuoleinen                # Finnish
    |stang(a|ul)?|bal|sol|lijev[aio]                  # Romanian, Hungarian, Turkish, Croatian
    |лев(ыи|ая|ое|ого|ои|ому|ым|ом|ую|ые|ых)|лів(ии|а|е|ого|оі)|ляв[ао]?  # Slavic, Cyrillic
    |αριστερ(ος|η|ο|ου|ης|α)                          # Greek
    |trai|kiri                                        # Vietnamese, Indonesian
    |lul|lll|lv|left(?!over)\w{4,}|\w{4,}(?<!c)left   # lobes, ventricle; run together
    """,
    re.VERBOSE,
)
_RIGHT = re.compile(
    r"""
    r|rh|rt|rights?|dx|dcho|dcha
    |recht(s|e[rsnm]?|se)|re|rechtsseitige?[rsnm]?
    |droite?s?
    |derech[oa]s?|direit[oa]s?
    |destr[oaie]
    |dext(er|era|ra|rum|ri|rae|ro|ram|ros|ras|ris|rorum|rarum)
    |praw(y|a|e|ego|ej|emu|ym|i|ych|ymi)
    |prav(y|a|e|eho|ej|emu|ym|ou)
    |hojre|hoyre|høyre|højre|hoger|hogra
    |oikean?|oikeanpuoleinen
    |drept|dreapta|dreptul|jobb|sag|desn[aio]
    |прав(ыи|ая|ое|ого|ои|ому|ым|ом|ую|ые|ых|ии|а|е|оі)|десен|дясн[ао]
    |δεξι(ος|α|ο|ου|ας)
    |phai|kanan
    |rul|rml|rll|rv|right\w{4,}|\w{4,}(?<!b)right
    """,
    re.VERBOSE,
)
# Signs of scripts without spaces between words, and first syllables of longer words.
_LEFT_SIGNS = ("左", "왼", "좌측", "أيسر", "ايسر", "يسر", "يسار", "چپ", "שמאל", "बाय", "बाएं", "ซ้าย")
_RIGHT_SIGNS = (
    "右",
    "오른",
    "우측",
    "أيمن",
    "ايمن",
    "يمن",
    "يمين",
    "راست",
    "ימני",
    "ימין",
    "दाय",
    "दाएं",
    "ขวา",
)
# Single letters that mean sides only as a pair: French, Spanish, Portuguese, Italian and Latin.
_LETTER_PAIRS = ({"g", "d"}, {"i", "d"}, {"e", "d"}, {"s", "d"})
_NAMELESS = re.compile(
    r"(label|class|klasse|structure|struct|roi|region|segment|segmentation|seg|mask|object|obj"
    r"|part|organ|value|val|index|id|foreground|fg|unknown|unnamed|no|nr|[a-z])s?"
)
_VERTEBRA = re.compile(r"[CTLS]\d{1,2}")


def decide_sides(
    labels: Mapping[int, str], declared: bool | None = None, asked: bool | None = None
) -> tuple[bool, str]:
    """Decide if left and right are different classes; return it with a reason in one line.

    Args:
        labels: index -> name, background included.
        declared: value of the dataset, or None.
        asked: value that the user asked for, or None; it has precedence.
    """
    if asked is not None:
        return asked, _line(asked, "asked for")
    if declared is not None:
        return declared, _line(declared, 'dataset.json says so under "sides"')
    names = [name for index, name in labels.items() if index != 0]
    sided = [name for name in names if has_side(name)] or _paired_names(names)
    if sided:
        return True, _line(True, f"a name holds a side ({sided[0]!r})")
    nameless = [name for name in names if is_nameless(name)]
    if len(names) > 1 and nameless:
        return True, _line(
            True, f"unknown meaning of {nameless[0]!r}; if no class has a side, --sides false"
        )
    return False, _line(False, "no name holds a side")


def has_side(name: str) -> bool:
    """Return True if a name has a word for left or for right, in one of many languages.

    A name with both has no side. Names are split at case changes, digits and punctuation, and only
    whole words count; ``L1`` is a vertebra.
    """
    words = name_words(name)
    signs = unicodedata.normalize("NFC", name)
    left = any(map(_LEFT.fullmatch, words)) or any(sign in signs for sign in _LEFT_SIGNS)
    right = any(map(_RIGHT.fullmatch, words)) or any(sign in signs for sign in _RIGHT_SIGNS)
    return left != right


def is_nameless(name: str) -> bool:
    """Return True if a name does not describe a structure (``label_3``, ``class 1``, ``7``)."""
    return not _VERTEBRA.fullmatch(name) and all(map(_NAMELESS.fullmatch, name_words(name)))


def name_words(name: str) -> list[str]:
    """Return the words of a name, in lower case and without accents.

    Words end at digits, at punctuation and before a capital that begins another word
    (``kidneyLeft``, ``LHippocampus``). Single letters just before a digit (``L1``) or an apostrophe
    (``l'aorte``) are left out.
    """
    letters = unicodedata.normalize("NFKD", name)
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    words = []
    for run, tail in re.findall(r"([^\W\d_]+)([\d'’]?)", plain):
        parts = _at_capitals(run)
        words += parts[:-1] if tail and len(parts[-1]) == 1 else parts
    return [word.lower() for word in words]


def declared_sides(description: Mapping[str, Any], path: Path) -> bool | None:
    """Return the value of ``sides`` in ``dataset.json``, or None.

    Raises:
        ConfigError: If it is neither true nor false.
    """
    value = description.get("sides")
    if value is None or isinstance(value, bool):
        return value
    raise ConfigError(
        f'"sides": {value!r}',
        expected="true if left and right are different classes, or false",
        remedy="correct the value, or remove it; the names of the labels then decide",
        path=path,
    )


def _at_capitals(run: str) -> list[str]:
    """Split letters where a capital follows a lower-case letter or begins another word."""
    cuts = [
        n
        for n in range(1, len(run))
        if run[n].isupper() and (run[n - 1].islower() or run[n + 1 : n + 2].islower())
    ]
    return [run[a:b] for a, b in zip([0, *cuts], [*cuts, len(run)], strict=True)]


def _paired_names(names: Sequence[str]) -> list[str]:
    """Return names that differ in one letter for the side, such as lkidney and rkidney."""
    words_of = {name: tuple(name_words(name)) for name in names}
    known = set(words_of.values())
    left = [name for name in names if known.intersection(_right_variants(words_of[name]))]
    letters = set(chain.from_iterable(known))
    has_letter_pair = any(pair <= letters for pair in _LETTER_PAIRS)
    return left or (list(names[:1]) if has_letter_pair else [])


def _right_variants(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the name with an l at the start or end of one word replaced by an r."""
    for n, word in enumerate(words):
        if word.startswith("l"):
            yield (*words[:n], f"r{word[1:]}", *words[n + 1 :])
        if word.endswith("l"):
            yield (*words[:n], f"{word[:-1]}r", *words[n + 1 :])


def _line(sides: bool, why: str) -> str:
    return f"sides: {str(sides).lower()}, {'nothing is' if sides else 'scans are'} mirrored: {why}"
