"""Whether classes are told apart by their side: mirrored scans would then teach the wrong one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_semiseg.errors import ConfigError

# Without accents and in small letters, each a whole word of a name. Words that are common in other
# senses are left out (Spanish "der" is also a German article).
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
# Scripts without spaces between words, and words there that stand at the front of longer ones.
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
# Single letters that mean sides only together: French, Spanish, Portuguese, Italian and Latin.
_LETTER_PAIRS = ({"g", "d"}, {"i", "d"}, {"e", "d"}, {"s", "d"})
_NAMELESS = re.compile(
    r"(label|class|klasse|structure|struct|roi|region|segment|segmentation|seg|mask|object|obj"
    r"|part|organ|value|val|index|id|foreground|fg|unknown|unnamed|no|nr|[a-z])s?"
)
_VERTEBRA = re.compile(r"[CTLS]\d{1,2}")


def decide_sides(
    labels: Mapping[int, str], declared: bool | None = None, asked: bool | None = None
) -> tuple[bool, str]:
    """Return whether classes have sides, and why, in one line.

    Args:
        labels: index -> name, background included.
        declared: what the dataset says, or None.
        asked: what the user says, or None; goes before all else.
    """
    if asked is not None:
        return asked, _line(asked, "asked for")
    if declared is not None:
        return declared, _line(declared, 'dataset.json says so under "sides"')
    names = [name for index, name in labels.items() if index != 0]
    sided = [name for name in names if has_side(name)] or _pair(names)
    if sided:
        return True, _line(True, f"a name holds a side ({sided[0]!r})")
    nameless = [name for name in names if is_nameless(name)]
    if len(names) > 1 and nameless:
        return True, _line(
            True, f"nothing says what {nameless[0]!r} is; if no class has a side, --sides false"
        )
    return False, _line(False, "no name holds a side")


def has_side(name: str) -> bool:
    """Return whether a name holds a word for left or for right, in one of many languages.

    A name that holds both has no side of its own. It is taken apart at case changes, digits and
    punctuation, and only whole words count; ``L1`` is a vertebra.
    """
    words, signs = name_words(name), unicodedata.normalize("NFC", name)
    left = any(map(_LEFT.fullmatch, words)) or any(sign in signs for sign in _LEFT_SIGNS)
    right = any(map(_RIGHT.fullmatch, words)) or any(sign in signs for sign in _RIGHT_SIGNS)
    return left != right


def is_nameless(name: str) -> bool:
    """Return whether a name does not say what is labelled (``label_3``, ``class 1``, ``7``)."""
    return not _VERTEBRA.fullmatch(name) and all(map(_NAMELESS.fullmatch, name_words(name)))


def name_words(name: str) -> list[str]:
    """Return the words of a name, in small letters and without accents.

    Words end at digits, punctuation and where a capital begins another one (``kidneyLeft``,
    ``LHippocampus``). Single letters just before a digit (``L1``) or an apostrophe (``l'aorte``)
    are left out.
    """
    letters = unicodedata.normalize("NFKD", name)
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    words = []
    for run, tail in re.findall(r"([^\W\d_]+)([\d'’]?)", plain):
        parts = _at_capitals(run)
        words += parts[:-1] if tail and len(parts[-1]) == 1 else parts
    return [word.lower() for word in words]


def declared_sides(description: Mapping[str, Any], path: Path) -> bool | None:
    """Return what ``dataset.json`` says under ``sides``; None if nothing.

    Raises:
        ConfigError: If that is neither true nor false.
    """
    value = description.get("sides")
    if value is None or isinstance(value, bool):
        return value
    raise ConfigError(
        f'"sides": {value!r}',
        expected="true if classes are told apart by their side, or false",
        remedy="mend it, or leave it out: then the names of the labels decide",
        path=path,
    )


def _at_capitals(run: str) -> list[str]:
    """Letters, cut where a capital follows a small letter or begins a word of its own."""
    cuts = [
        n
        for n in range(1, len(run))
        if run[n].isupper() and (run[n - 1].islower() or run[n + 1 : n + 2].islower())
    ]
    return [run[a:b] for a, b in zip([0, *cuts], [*cuts, len(run)], strict=True)]


def _pair(names: Sequence[str]) -> list[str]:
    """Names that only two letters tell apart: lkidney and rkidney, rein g and rein d."""
    words = [tuple(name_words(name)) for name in names]
    known = {*words}
    twins = [name for name, its in zip(names, words, strict=True) if known & {*_on_the_right(its)}]
    letters = {word for its in words for word in its}
    lettered = any(pair <= letters for pair in _LETTER_PAIRS)
    return twins or (list(names[:1]) if lettered else [])


def _on_the_right(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The name with an l at one word's front or end turned into an r."""
    for n, word in enumerate(words):
        if word.startswith("l"):
            yield (*words[:n], f"r{word[1:]}", *words[n + 1 :])
        if word.endswith("l"):
            yield (*words[:n], f"{word[:-1]}r", *words[n + 1 :])


def _line(sides: bool, why: str) -> str:
    return f"sides: {str(sides).lower()}, {'nothing is' if sides else 'scans are'} mirrored: {why}"
