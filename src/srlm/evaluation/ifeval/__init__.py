"""IFEval (Zhou et al. 2023): does a model follow instructions that a program can verify?

    verdicts = verify_all(read_tasks(path), responses)     # responses: from a prompt to a model's text
    figures = ifeval_figures(verdicts)                     # plain JSON, with intervals
    print(ifeval_table(figures))

There is no judge and no network. Written from the paper and checked against its authors' verdicts on
GPT-4's answers: equal on all of 562 instructions, strict and loose, but for two strict ones, where theirs
are on a random letter (tests/evaluation/test_ifeval.py). Packages that hold the reference's code need NLTK's
data from the network, and are not used.
"""

from srlm.evaluation.ifeval.scores import ifeval_figures, ifeval_table
from srlm.evaluation.ifeval.verifying import Task, Verdict, read_tasks, variants, verify, verify_all

__all__ = [
    "Task",
    "Verdict",
    "ifeval_figures",
    "ifeval_table",
    "read_tasks",
    "variants",
    "verify",
    "verify_all",
]
