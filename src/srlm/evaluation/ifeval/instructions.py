"""The 25 kinds of instructions that a program can verify (IFEval: Zhou et al. 2023, tables 1 and 2).

`CHECKS` maps an instruction's id to a function from a response, and the arguments that its prompt names, to
whether the response follows it. The paper describes each in a sentence; where that leaves a choice, the
verdicts that its authors published on GPT-4's answers decide, and the docstring says what they show.
"""

import json
import re
from collections.abc import Callable
from itertools import takewhile
from typing import Literal

from srlm.evaluation.ifeval import text
from srlm.evaluation.ifeval.language import language_of

Relation = Literal["less than", "at least"]

_CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def _holds(found: int, relation: Relation, wanted: int) -> bool:
    return found < wanted if relation == "less than" else found >= wanted


# --- Keywords ---


def has_keywords(response: str, *, keywords: list[str]) -> bool:
    """Whether each keyword occurs, in any case, be it inside a longer word."""
    return all(word.lower() in response.lower() for word in keywords)


def has_keyword_often(response: str, *, keyword: str, frequency: int, relation: Relation) -> bool:
    """Whether the keyword occurs as often as asked, in any case, inside longer words too."""
    return _holds(response.lower().count(keyword.lower()), relation, frequency)


def has_no_forbidden_word(response: str, *, forbidden_words: list[str]) -> bool:
    """Whether none of the words occurs as a word of its own, in any case."""
    return not any(re.search(rf"(?i)\b{re.escape(word)}\b", response) for word in forbidden_words)


def has_letter_often(response: str, *, letter: str, let_frequency: int, let_relation: Relation) -> bool:
    """Whether the letter occurs as often as asked, in any case.

    Two prompts ask for "#" and "!", which are counted like letters. The reference takes a random letter in
    their place, so that its strict and its loose verdict on one text can contradict each other.
    """
    return _holds(response.lower().count(letter.lower()), let_relation, let_frequency)


# --- Language and case ---


def is_in_language(response: str, *, language: str) -> bool:
    """Whether the response is in the language of that code; a response without any letters is."""
    return language_of(response) in {language, None}


def is_english_capitals(response: str) -> bool:
    """Whether no letter is small, and the language is English."""
    return response.isupper() and is_in_language(response, language="en")


def is_english_lowercase(response: str) -> bool:
    """Whether no letter is a capital, and the language is English."""
    return response.islower() and is_in_language(response, language="en")


def has_capital_words_often(response: str, *, capital_frequency: int, capital_relation: Relation) -> bool:
    """Whether there are as many words in capitals as asked; "I" and "A" are such words."""
    return _holds(sum(word.isupper() for word in text.tokens(response)), capital_relation, capital_frequency)


# --- Length ---


def has_sentences(response: str, *, num_sentences: int, relation: Relation) -> bool:
    """Whether there are as many sentences as asked."""
    return _holds(text.num_sentences(response), relation, num_sentences)


def has_words(response: str, *, num_words: int, relation: Relation) -> bool:
    """Whether there are as many words as asked."""
    return _holds(text.num_words(response), relation, num_words)


def has_paragraphs(response: str, *, num_paragraphs: int) -> bool:
    """Whether `***` divides the response into just so many paragraphs, none of them empty.

    A divider at the very start or end is forgiven.
    """
    return _num_parts(response.split("***")) == num_paragraphs


def _num_parts(parts: list[str]) -> int | None:
    """How many parts hold text; None where one between others is empty."""
    inner = parts[1:-1]
    return sum(bool(part.strip()) for part in parts) if all(part.strip() for part in inner) else None


def starts_nth_paragraph_with(
    response: str, *, num_paragraphs: int, nth_paragraph: int, first_word: str
) -> bool:
    """Whether there are just so many paragraphs, and the nth begins with the word, in any case.

    An empty line divides paragraphs. Empty paragraphs do not count towards the number, but keep their place:
    the nth is that of all. The word ends at a space or one of . , ? ! ' "
    """
    paragraphs = response.split("\n\n")
    count = sum(bool(paragraph.strip()) for paragraph in paragraphs)
    if count != num_paragraphs or not 1 <= nth_paragraph <= count:
        return False
    words = paragraphs[nth_paragraph - 1].split(maxsplit=1)
    start = words[0].lstrip("'").lstrip('"') if words else ""
    return "".join(takewhile(lambda char: char not in ".,?!'\"", start)).lower() == first_word.lower()


# --- Content and form ---


def has_placeholders(response: str, *, num_placeholders: int) -> bool:
    """Whether at least so many texts within a line stand in square brackets."""
    closed = (piece for line in response.split("\n") for piece in line.split("]")[:-1])
    return sum("[" in piece for piece in closed) >= num_placeholders  # no pattern: "[[[[..." would take long


def has_postscript(response: str, *, postscript_marker: str) -> bool:
    """Whether the marker occurs, in any case; within P.S. and P.P.S. spaces may follow a full stop."""
    marker = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}.get(postscript_marker)
    return re.search(marker or re.escape(postscript_marker.lower()), response.lower()) is not None


def has_bullets(response: str, *, num_bullets: int) -> bool:
    """Whether just so many lines begin with one asterisk or a dash; a line with two is bold print."""
    stars = re.findall(r"(?m)^\s*\*[^*].*$", response)
    return len(stars) + len(re.findall(r"(?m)^\s*-.*$", response)) == num_bullets


def has_constrained_answer(response: str) -> bool:
    """Whether "My answer is yes.", "My answer is no." or "My answer is maybe." occurs."""
    return any(answer in response for answer in _CONSTRAINED)


def has_highlights(response: str, *, num_highlights: int) -> bool:
    """Whether at least so many texts within a line stand between asterisks, `*one*` or `**two**`."""
    single = re.findall(r"\*([^\n*]*)\*", response)
    double = re.findall(r"\*\*([^\n*]*)\*\*", response)
    return sum(bool(found.strip()) for found in single + double) >= num_highlights


def has_sections(response: str, *, section_spliter: str, num_sections: int) -> bool:
    """Whether at least so many times the section's name is followed by a number."""
    return len(re.findall(rf"{re.escape(section_spliter)}\s?\d+", response)) >= num_sections


def is_json(response: str) -> bool:
    """Whether the response is JSON and nothing else, in a Markdown fence or not."""
    inside = re.sub(r"^```(?:json|Json|JSON)?|```$", "", response.strip())
    try:
        json.loads(inside)
    except (ValueError, RecursionError):
        return False
    return True


def has_title(response: str) -> bool:
    """Whether some text within a line stands in double angular brackets."""
    return any(title.strip("<>").strip() for title in re.findall(r"<<[^\n]+>>", response))


def is_two_responses(response: str) -> bool:
    """Whether `******` divides the response into two that differ; others at the ends are forgiven."""
    parts = response.split("******")
    texts = [part.strip() for part in parts if part.strip()]
    return _num_parts(parts) == 2 and texts[0] != texts[1]


# --- Start and end ---


def repeats_prompt(response: str, *, prompt_to_repeat: str) -> bool:
    """Whether the response begins with the prompt, in any case."""
    return response.strip().lower().startswith(prompt_to_repeat.strip().lower())


def ends_with(response: str, *, end_phrase: str) -> bool:
    """Whether the response ends with the phrase, in any case; quotation marks around it all do not count."""
    return response.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def is_quoted(response: str) -> bool:
    """Whether double quotation marks stand around the whole response."""
    quoted = response.strip()
    return len(quoted) > 1 and quoted[0] == quoted[-1] == '"'


def has_no_comma(response: str) -> bool:
    """Whether there is no comma; those of other scripts are none."""
    return "," not in response


CHECKS: dict[str, Callable[..., bool]] = {
    "change_case:capital_word_frequency": has_capital_words_often,
    "change_case:english_capital": is_english_capitals,
    "change_case:english_lowercase": is_english_lowercase,
    "combination:repeat_prompt": repeats_prompt,
    "combination:two_responses": is_two_responses,
    "detectable_content:number_placeholders": has_placeholders,
    "detectable_content:postscript": has_postscript,
    "detectable_format:constrained_response": has_constrained_answer,
    "detectable_format:json_format": is_json,
    "detectable_format:multiple_sections": has_sections,
    "detectable_format:number_bullet_lists": has_bullets,
    "detectable_format:number_highlighted_sections": has_highlights,
    "detectable_format:title": has_title,
    "keywords:existence": has_keywords,
    "keywords:forbidden_words": has_no_forbidden_word,
    "keywords:frequency": has_keyword_often,
    "keywords:letter_frequency": has_letter_often,
    "language:response_language": is_in_language,
    "length_constraints:nth_paragraph_first_word": starts_nth_paragraph_with,
    "length_constraints:number_paragraphs": has_paragraphs,
    "length_constraints:number_sentences": has_sentences,
    "length_constraints:number_words": has_words,
    "punctuation:no_comma": has_no_comma,
    "startend:end_checker": ends_with,
    "startend:quotation": is_quoted,
}
"""From an instruction's id to its check: the ids of IFEval's data, all of them."""
