"""Replies as judges write them, what is read from each, and why nothing is read from the others.

(rubric, reply, verdict or None, reason or None); the reply ended by itself unless its reason is `truncated`.
"""

GOOD = "The response is relevant and mostly complete."

ADDITIVE = [
    # The exact form, and what judges make of it.
    (f"{GOOD}\nScore: 4", "4", None),
    (f"{GOOD}\n\nScore: 0", "0", None),
    (f"{GOOD}\nScore: 5\n", "5", None),
    (f"{GOOD}\nScore:3", "3", None),
    (f"{GOOD}\nScore : 2", "2", None),
    (f"{GOOD}\nscore: 1", "1", None),
    (f"{GOOD}\nSCORE: 4", "4", None),
    (f"{GOOD}\nScore: 4.", "4", None),
    (f"{GOOD}\r\nScore: 4\r\n", "4", None),
    (f"{GOOD}\n   Score: 4   ", "4", None),
    ("Score: 3", "3", None),
    ("Score: 2\nThe response is vague.", "2", None),
    # Markdown.
    (f"{GOOD}\n**Score: 5**", "5", None),
    (f"{GOOD}\n**Score:** 5", "5", None),
    (f"{GOOD}\n**Score**: 5", "5", None),
    (f"{GOOD}\n### Score: 4", "4", None),
    (f"{GOOD}\n- Score: 4", "4", None),
    (f"{GOOD}\n> Score: 4", "4", None),
    (f"{GOOD}\n`Score: 4`", "4", None),
    (f"{GOOD}\n__Score: 3__", "3", None),
    (f"{GOOD}\nScore: **3**", "3", None),
    (f"{GOOD}\nScore: [3]", "3", None),
    (f"{GOOD}\nScore: <3>", "3", None),
    (f"{GOOD}\n~Score: 3~", "3", None),
    # Words before and after.
    (f"{GOOD}\nFinal score: 4", "4", None),
    (f"{GOOD}\nTotal Score: 4", "4", None),
    (f"{GOOD}\nOverall score: 4", "4", None),
    (f"{GOOD}\nMy final score: 4", "4", None),
    (f"{GOOD}\nScore: 4 points", "4", None),
    (f"{GOOD}\nScore: 1 point.", "1", None),
    (f"{GOOD}\nScore: 4 (good)", "4", None),
    (f"{GOOD}\nScore: 4 stars", "4", None),
    # Scales.
    (f"{GOOD}\nScore: 4/5", "4", None),
    (f"{GOOD}\nScore: 4 / 5", "4", None),
    (f"{GOOD}\nScore: 4 out of 5", "4", None),
    (f"{GOOD}\n**Score: 3/5**", "3", None),
    (f"{GOOD}\nScore: 4.0", "4", None),
    (f"{GOOD}\nScore: 4,0", "4", None),
    (f"{GOOD}\nScore: 8/10", None, "out of range"),
    (f"{GOOD}\nScore: 4/10", None, "out of range"),
    (f"{GOOD}\nScore: 80 out of 100", None, "out of range"),
    # Digits of other scripts are digits; the colon may be full-width.
    (f"{GOOD}\nScore: ４", "4", None),
    (f"{GOOD}\nScore：4", "4", None),
    (f"{GOOD}\nScore: ٤", "4", None),
    (f"{GOOD}\nScore: ३", "3", None),
    (f"{GOOD}\nScore: ④", None, "not a grade"),
    (f"{GOOD}\nScore: 四", None, "not a grade"),
    # Several: the last line counts, two grades in one line count for none.
    ("Score: 1\nOn reflection, more.\nScore: 2", "2", None),
    ("1. Relevant: +1\n2. Substantial: +1\nScore: 2", "2", None),
    (f"{GOOD}\nScore: 3-4", None, "several scores"),
    (f"{GOOD}\nScore: 3 or 4", None, "several scores"),
    (f"{GOOD}\nScore: 3, maybe 4", None, "several scores"),
    (f"{GOOD}\nScore: 1 + 1 + 1 = 3", None, "several scores"),
    (f"{GOOD}\nScore: 4\nScore: <total points>", None, "not a grade"),
    # Not a grade of this rubric.
    (f"{GOOD}\nScore: 4.5", None, "not a grade"),
    (f"{GOOD}\nScore: 3,5", None, "not a grade"),
    (f"{GOOD}\nScore: five", None, "not a grade"),
    (f"{GOOD}\nScore: V", None, "not a grade"),
    (f"{GOOD}\nScore: high", None, "not a grade"),
    (f"{GOOD}\nScore: N/A", None, "not a grade"),
    (f"{GOOD}\nScore:", None, "not a grade"),
    (f"{GOOD}\nScore: ★★★★", None, "not a grade"),
    (f"{GOOD}\nScore: 6", None, "out of range"),
    (f"{GOOD}\nScore: -1", None, "out of range"),
    (f"{GOOD}\nScore: −2", None, "out of range"),
    (f"{GOOD}\nScore: 100", None, "out of range"),
    (f"{GOOD}\nScore: 99999999999999999999", None, "out of range"),
    # Nothing in the form.
    ("", None, "no score"),
    (" \n\n", None, "no score"),
    (GOOD, None, "no score"),
    ("4", None, "no score"),
    ("I would give it a Score: 5 perhaps, but", None, "no score"),
    ("It earns a score of 4.", None, "no score"),
    ("Rating: 4", None, "no score"),
    ("Puntuación: 4", None, "no score"),
    ("The underscore: 4 is a character.", None, "no score"),
    ("Scores: 4", None, "no score"),
    ('{"score": 4}', None, "no score"),
    # Refusals.
    ("I'm sorry, but I can't judge this response.", None, "refusal"),
    ("I cannot evaluate this content.", None, "refusal"),
    ("As an AI language model, I do not have opinions.", None, "refusal"),
    ("I am unable to rate it.", None, "refusal"),
    ("I can't find a fault in it.", None, "no score"),
    (f"{GOOD}\nScore: -0", "0", None),
    (f"{GOOD}\nScore: 3,000", None, "several scores"),
    ("I cannot find a fault in it.\nScore: 5", "5", None),
    # Cut off by the budget.
    ("The response is relevant and", None, "truncated"),
    ("The response is relevant.\nScore:", None, "truncated"),
    ("The response is relevant.\nScore: ", None, "truncated"),
    ("", None, "truncated"),
]

MT_BENCH = [
    ("It is helpful. Rating: [[7]]", "7", None),
    ("It is helpful. [[10]]", "10", None),
    ("Rating: [[8.5]]", "8.5", None),
    ("Rating: [5]", "5", None),
    ("First [[3]], then on reflection [[6]]", "6", None),
    ("See [1] and [2]. Rating: [[9]]", "9", None),
    ("Rating: [[0]]", None, "out of range"),
    ("Rating: [[11]]", None, "out of range"),
    ("Rating: 7", None, "no score"),
    ("Rating: [[rating]]", None, "no score"),
    ("It is help", None, "truncated"),
]

PAIRWISE = [
    ("A is shorter.\nVerdict: A", "A", None),
    ("B is right.\n**Verdict: b**", "B", None),
    ("Equal.\nVerdict: tie", "tie", None),
    ("Equal.\nFinal verdict: Tie.", "tie", None),
    ("Verdict: Response B", "B", None),
    ("Verdict: [[A]]", "A", None),
    ("Verdict: A or B", None, "several scores"),
    ("Verdict: C", None, "not a grade"),
    ("Verdict: 1", None, "not a grade"),
    ("A is better.", None, "no score"),
]

REPLIES = [
    (rubric, *row)
    for rubric, rows in (("additive", ADDITIVE), ("mt_bench", MT_BENCH), ("pairwise", PAIRWISE))
    for row in rows
]
