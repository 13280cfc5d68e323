"""Key phrases of a text, and copies of it that lack some of them.

RAKE (Rose et al. 2010): stop words and punctuation cut a text into candidate phrases. A word scores
degree / frequency, where its degree counts the words of every phrase that it stands in, itself
included; a phrase scores the sum of its words. Stop words are English: in other languages most of a
text is a key phrase.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")


@cache
def stop_words() -> frozenset[str]:
    """English words that say little by themselves, and what is left of their contractions."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS) | {
        f"{word}n't"
        for word in ("do", "is", "was", "does", "did", "ca", "wo", "are", "were", "have", "had")
    }


def candidates(text: str) -> Iterator[list[re.Match[str]]]:
    """Runs of words that neither a stop word nor anything but spaces breaks, in order."""
    phrase: list[re.Match[str]] = []
    end = 0
    for word in _WORD.finditer(text):
        if phrase and text[end : word.start()].strip():
            yield phrase
            phrase = []
        if word[0].lower().replace("\u2019", "'") in stop_words():
            if phrase:
                yield phrase
            phrase = []
        else:
            phrase.append(word)
        end = word.end()
    if phrase:
        yield phrase


def key_phrases(text: str) -> dict[str, float]:
    """Phrase (in lower case, words joined by a space) -> score, best first; equals in the order in
    which they come.
    """
    found = [" ".join(word[0].lower() for word in phrase) for phrase in candidates(text)]
    frequency: Counter[str] = Counter()
    degree: Counter[str] = Counter()
    for phrase in found:
        words = phrase.split()
        frequency.update(words)
        for word in words:
            degree[word] += len(words)
    scores = {
        phrase: sum(degree[word] / frequency[word] for word in phrase.split()) for phrase in found
    }
    return dict(sorted(scores.items(), key=lambda entry: -entry[1]))


def without_key_phrases(text: str, rate: float) -> str:
    """The text without the best `rate` of its key phrases (rounded up), each wherever it stands;
    what is left keeps its order.

    Nested: what is kept at a higher rate is part of what is kept at a lower one. Rate 0 gives the
        text as it is.
    """
    phrases = list(key_phrases(text))
    gone = set(phrases[: math.ceil(rate * len(phrases))])
    if not gone:
        return text
    kept, at = [], 0
    for phrase in candidates(text):
        if " ".join(word[0].lower() for word in phrase) in gone:
            kept.append(text[at : phrase[0].start()])
            at = phrase[-1].end()
    return re.sub(r"(?<=\S) {2,}", " ", "".join([*kept, text[at:]]))
