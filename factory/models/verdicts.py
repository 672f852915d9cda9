"""What a judge's answer says: which of two answers is better. What cannot be read is None, never a guess.

Names of the answers and words for a tie become marks first, one character each; then statements are looked for in the
order of how plainly they are made: in brackets or JSON, behind a label, alone on a line, in a sentence. The plainest
kind that is there decides, and of several of one kind the last, since judges argue first. A statement that can mean
two things ("Verdict: A or B") says nothing.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

Preferred = Literal["first", "second", "tie", "both_good", "both_bad"]

FIRST, SECOND, TIE, GOOD, BAD, BOTH, UNCLEAR = "\ue101\ue102\ue103\ue104\ue105\ue106\ue107"
MEANING: dict[str, Preferred] = {FIRST: "first", SECOND: "second", TIE: "tie", GOOD: "both_good", BAD: "both_bad"}
ANY = f"[{''.join(MEANING)}{UNCLEAR}]"

_THINKING = re.compile(r"<think(?:ing)?>.*?(?:</think(?:ing)?>|\Z)", re.S | re.I)
_LETTER_IN_BRACKETS = re.compile(r"(?<![\[(])[\[(]([AB])[\])](?![\])])")
_MARKDOWN = re.compile(r"[*`\ufe0f\u20e3]|__|~~|^[ \t]*[#>]+|[\ue100-\ue10f]", re.M)

_JOINED = re.compile(r"\b(both)[_-](bad|good)\b", re.I)

# Names that can only mean an answer. Letters are capitals: "answer a question" names none.
_NOUN = r"(?i:answers?|responses?|assistant|candidate|option|output|model|reply|completion|version|solution)"
_ZH = r"(?:回答|答案|回复|回覆|选项|選項|助手|候选|模型|答复)\s*"
_ENDS = r"(?=\s+(?:is|was|wins|won|beats)\b|\s*(?:[.!,;:)\"'\]]|$))"


def _names(letter: str, digit: str, word: str, ordinals: str, zh: str) -> re.Pattern[str]:
    return re.compile(
        rf"(?:\b(?i:the )?{_NOUN}[ _#-]*(?:{letter}|{digit})(?![\w%]|[.,]\d)|\b(?i:the )?{_NOUN} (?i:{word}){_ENDS}"
        rf"|\b(?i:(?:the )?(?:{ordinals})[ -]){_NOUN}\b|\b(?i:the (?:{ordinals})(?: one)?){_ENDS}"
        rf"|{_ZH}(?:{letter}|[{zh}])(?![A-Za-z0-9%])|第[{zh}][个個种份]?(?:{_ZH})?|{'前' if digit == '1' else '后'}者)",
        re.M,
    )


_NAMES = {
    FIRST: _names("A", "1", "one", "first|1st|former", "一1甲"),
    SECOND: _names("B", "2", "two", "second|2nd|latter", "二2乙"),
}
# A capital letter by itself: "A" may be an article, "B" a vitamin or a plan, which the words beside it tell.
_LETTER = re.compile(
    r"(?<![A-Za-z0-9_'.-])(?:(?P<before>[A-Za-z]+) +)?(?P<letter>[AB])(?![\w'.-]*\w)(?: +(?P<after>[a-z]+))?"
)
_BEFORE = re.compile(
    r"and|or|than|that|vs|versus|is|be|prefer|choose|pick|select|for|to|but|while|so|say|says|with|am|are|call|verdict|"
    r"winner|preference|judge?ment|decision|choice|conclusion|overall|therefore|thus|hence|finally|over|the|not|both|"
    r"neither|either|between|think|believe|find|favou?r|rate|rank",
    re.I,
)
_AFTER = re.compile(
    "and|or|vs|versus|is|was|are|were|wins?|won|beats|because|since|as|for|due|with|over|but|while|than|has|gives|"
    "provides|do|does|seems?|appears|looks|on|in|by|to|clearly|slightly|overall|better|answers|outperforms|would|should"
)

_POOR = "(?:bad|poor|wrong|incorrect|inadequate|unacceptable|unhelpful|useless|terrible|unsatisfactory|harmful)"
_FINE = "(?:good|fine|great|excellent|correct|acceptable|helpful|valid|strong|satisfactory)"
_EVEN = rf"(?:equal(?:ly (?:{_FINE}|well))?|tied|comparable|equivalent|similar in quality|quality)"
_VERY = "(?:(?:very|quite|really|rather|simply|about|roughly|both|of|the|same) )*"
_IS = " ?(?:is|are|was|were|seem|seems|look|answers|responses|of them|ones)?(?: are)? ?"
_AND = r"\s*(?:and|&|和|与|跟)\s*"
# Words about both of them, each as the mark it becomes; the order counts.
_TOGETHER = tuple(
    (mark, re.compile(pattern, re.I))
    for mark, pattern in (
        (BOTH, rf"{FIRST}{_AND}{SECOND}|{SECOND}{_AND}{FIRST}"),
        (
            BOTH,
            r"\bboth(?: of)?(?: the| these)?(?: two)?(?: answers| responses| assistants| of them| ones)?\b"
            rf"(?: *{BOTH})?",
        ),
        (BOTH, "两者|二者|兩者|两个回答|两个答案|两个|双方|兩個"),
        (BAD, rf"{BOTH}{_IS}{_VERY}(?:equally )?{_POOR}\b|\bequally {_POOR}\b"),
        (BAD, f"{BOTH}?都(?:不好|不行|很差|很糟|差|错|不合格|不正确)"),
        (BAD, rf"\bneither(?: of them| of the two| {_NOUN})?(?: is| was) (?:a |any )?{_FINE}\b"),
        (TIE, rf"{BOTH}{_IS}{_VERY}{_EVEN}\b"),
        (TIE, r"\bneither(?: of them| of the two| answer| response| one)?(?: is| was) (?:clearly )?better\b"),
        (TIE, rf"\bequally {_FINE}\b|\b(?:a|an|is|it's|as) (?:tie|draw)\b|\bno (?:clear )?(?:winner|preference)\b"),
        (TIE, "平局|平手|打平|不分上下|不相上下|难分高下|一样好|同样好|不分伯仲|引き分け"),
        (TIE, f"{BOTH}(?:的?质量)?(?:基本|大致)?(?:相当|差不多|相同|一样)"),
        (GOOD, rf"{BOTH}{_IS}{_VERY}{_FINE}\b|{BOTH}都(?:很好|不错|好)"),
    )
)
_SIGNS = re.compile(rf"({FIRST}|{SECOND})\s*(>{{1,3}}|<{{1,3}}|={{1,2}}|≈|~)\s*({FIRST}|{SECOND})")
_SEVERAL = re.compile(
    rf"(?:{ANY}|\btie\b)(?:[\"'\])]*\s*(?:[,/|、]\s*(?:or\b)?|\bor\b|或者?|还是)\s*[\"'(\[]*(?:{ANY}|\btie\b))+", re.I
)

# Words that are a choice where nothing else can be meant: behind a label, or as all there is.
_WEAK = {
    "a": FIRST, "1": FIRST, "first": FIRST, "the first": FIRST, "one": FIRST, "first one": FIRST, "一": FIRST,
    "the first one": FIRST, "甲": FIRST, "b": SECOND, "2": SECOND, "second": SECOND, "the second": SECOND,
    "two": SECOND, "second one": SECOND, "the second one": SECOND, "二": SECOND, "乙": SECOND, "tie": TIE, "tied": TIE,
    "draw": TIE, "equal": TIE, "same": TIE, "相当": TIE, "一样": TIE, "差不多": TIE,
}  # fmt: skip
_CHOICE = rf"(?:{ANY}|(?i:{'|'.join(sorted(map(re.escape, _WEAK), key=len, reverse=True))})(?![\w%]))"
_BECAUSE = r"(?:is|was|wins|because|since|as|for|due|with|over)\b"
_END = rf"(?=\s*(?:$|[.。!！,;，；)\]}}\"'”’」\n(—–-])(?![.,]\d)|\s+[^\sa-z]|\s+{_BECAUSE})"
_OPEN = r"[\s\"'“‘「(\[{<]*"
_CLOSE = r"[\s\"'”’」)\]}>.。!！,;]*"
_LABEL = (
    r"(?:(?i:\b(?:verdict|winner|winning (?:answer|response)|preferred(?: answer| response| one)?|preference|choice|"
    r"decision|judge?ment|conclusion|best(?: answer| response| one)?|better(?: answer| response| one)?|result|chosen|"
    r"my vote))|结论|結論|判断|判定|裁决|最终选择|选择|更好的?(?:回答|答案|一个)?|胜者|获胜者|赢家|評価)"
)
# "The answer is B" may speak of a question with choices; a line that begins with "Answer:" does not.
_ANSWER = r"(?:^\W*(?i:(?:final |my |the )?answer)|^\W*答案)"
_IS_SAID = r"(?:\s*(?:[:=]|——?|->|→)|\s[–-]\s|\s+(?i:is|goes to|would be)\s*:?|\s*(?:是|为)\s*:?)"
_SURELY = "(?:(?:clearly|definitely|probably|slightly|therefore|thus|overall|marginally|that|simply) )*"
_ALONE = re.compile(
    rf"^{_OPEN}(?P<said>{_CHOICE}){_CLOSE}$|\A{_OPEN}(?P<begun>{ANY}|(?i:tie\b))[\"'”)\]]*\s*"
    rf"(?:[;—–-]\s|,\s*|[.。]\s*(?=[A-Z一-鿿])|\(|(?:because|since)\b)(?![\s\S]*\n\W*[{FIRST}{SECOND}])",
    re.M,
)
_KINDS = (
    re.compile(rf"\[\[\s*(?P<said>{_CHOICE}|(?i:c))\s*\]\]|\\boxed\{{\s*(?:\\text\{{)?(?P<boxed>{_CHOICE})\s*\}}"),
    re.compile(
        rf"[\"'](?:{_LABEL}|(?i:answer))[\"']\s*:\s*[\"']?\s*(?P<said>{_CHOICE})\s*(?=[\"'}},\n]|$)"
        rf"|<{_LABEL}>\s*(?P<tagged>{_CHOICE})\s*</"
    ),
    re.compile(
        rf"(?:{_LABEL}{_IS_SAID}\s*{_SURELY}|{_ANSWER}\s*[:=]\s*){_OPEN}(?P<said>{_CHOICE}){_END}",
        re.M,
    ),
    _ALONE,
)
_MUCH = (
    "(?:(?:much|far|clearly|slightly|definitely|significantly|a bit|a little|the|overall|generally|marginally|also|a|"
    "somewhat|more|most|is|still|therefore|thus|by far|considerably|only) )*"
)
_BETTER = "(?:better|best|superior|preferable|preferred|stronger|strongest|winner|more helpful|helpful one)"
_SEEMS = "(?:is|was|seems|appears|looks|seems to be|appears to be|comes out)"
# Not a word about one side of an answer: "better in tone", "better organised", "better at formatting".
_WHOLE = (
    r"(?=\s*(?:$|[.。!！,;:)\n\"'”—–-]|(?:than|overall|answer|response|one|choice|option|here|because|since|as|"
    r"for this|and|of the two|reply)\b))"
)
_ZH_BETTER = (
    "(?:显然|明显|整体|总体|要|则|是|的质量|稍微|略微|相对|会|得|确实)*"
    "(?:更好|更优|更佳|更胜一筹|较好|胜出|获胜|略胜|优于|好于|比较好|好一些|最好|更棒)"
)
_CHOOSE = "(?:prefer|choose|pick|select|favou?r|go with|vote for|chose|picked|selected|opt for)"
_SENTENCES = re.compile(
    rf"(?P<said>[{FIRST}{SECOND}])\s*(?:{_SEEMS} {_MUCH}{_BETTER}{_WHOLE}"
    rf"|{_MUCH}(?:wins|won|beats|outperforms|comes out ahead|is ahead)\b|{_ZH_BETTER})"
    rf"|\b(?i:{_CHOOSE}) {_OPEN}(?P<taken>[{FIRST}{SECOND}])"
    rf"|我?(?:选择|更喜欢|倾向于?|认为){_OPEN}(?P<zh>[{FIRST}{SECOND}])(?=\s*(?:[.。!！,，;；\n]|$))"
    rf"|(?P<even>{TIE})",
    re.M,
)
_UNSAID = re.compile(
    r"\b(?:not|never|whether|if|hardly|unless|although|though|while|cannot|can't|don't|doesn't|isn't)\b"
    r"|n't\b|虽然|尽管|如果|是否|不认为|并不|并非|不能|不",
    re.I,
)  # fmt: skip
_BREAK = re.compile(r"[.。!！?？\n;；,，]|\bbut\b|\bhowever\b|但|所以|因此")


def preferred(text: str) -> Preferred | None:
    """The verdict on two answers, which are called A and B, 1 and 2, or the first and the second; None: unreadable."""
    marked = _marked(plain_text(text))
    for kind in _KINDS:
        if found := [_meant(_word(one)) for one in kind.finditer(marked)]:
            return found[-1] if kind is not _ALONE or len(set(found)) == 1 else None
    stated = [found for found in _SENTENCES.finditer(marked) if not _is_unsaid(marked, found.start())]
    if stated:
        return _meant(_word(stated[-1]))
    return "both_bad" if BAD in marked else None


def plain_text(text: str) -> str:
    """The answer without its thinking and without markdown, full-width letters and digits as plain ones."""
    return _MARKDOWN.sub("", unicodedata.normalize("NFKC", _THINKING.sub("\n", text))).strip()


def _marked(text: str) -> str:
    text = _JOINED.sub(r"\1 \2", _LETTER_IN_BRACKETS.sub(r"\1", text))
    for mark, names in _NAMES.items():
        text = names.sub(mark, text)
    for _ in range(2):  # in "A and B" the word between belongs to both letters
        text = _LETTER.sub(_letter, text)
    for mark, words in _TOGETHER:
        text = words.sub(mark, text)
    text = _SIGNS.sub(_compared, text)
    return _SEVERAL.sub(lambda found: UNCLEAR if len(set(_choices(found[0]))) > 1 else _choices(found[0])[0], text)


def _letter(found: re.Match[str]) -> str:
    before, after = found["before"], found["after"]
    if (before and not _BEFORE.fullmatch(before)) or (after and not _AFTER.fullmatch(after)):
        return found[0]
    mark = FIRST if found["letter"] == "A" else SECOND
    return f"{before + ' ' if before else ''}{mark}{' ' + after if after else ''}"


def _compared(found: re.Match[str]) -> str:
    one, sign, other = found.groups()
    if one == other:
        return UNCLEAR
    return TIE if sign[0] in "=≈~" else one if sign[0] == ">" else other


def _choices(text: str) -> list[str]:
    return [TIE if one.lower() == "tie" else one for one in re.findall(rf"{ANY}|\btie\b", text, re.I)]


def _word(found: re.Match[str]) -> str:
    return next(word for word in found.groups() if word)


def _meant(said: str) -> Preferred | None:
    mark = TIE if said.lower() == "c" else _WEAK.get(said.lower(), said)
    return MEANING.get(mark)


def _is_unsaid(text: str, at: int) -> bool:
    """Whether the clause that leads to a place denies what follows, or only supposes or admits it."""
    return bool(_UNSAID.search(_BREAK.split(text[max(0, at - 100) : at])[-1]))
