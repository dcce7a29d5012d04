# SPDX-License-Identifier: Apache-2.0
"""What the documents tell their readers to type is there: every command, with every option."""

import pathlib
import re
import shlex

import pytest

from support import broker as brokers

pytestmark = pytest.mark.bourse_only

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md"), *ROOT.glob("bench/*.md")])
# A line of an example, or what stands in back quotes; a "|" of a table ends it.
SPOKEN = re.compile(r"^(?: {4})?(?:[A-Z_]+=\S+ )?(?:build/)?bourse (.+)$|`(?:build/)?bourse ((?:\\`|[^`])+)`", re.MULTILINE)
# Stands for any word: what a reader fills in, or what a shell adds.
ENDS = {"|", ">", "<", "&&", "&", ";", "#", "2>", "..."}


def commands_of(page):
    text = page.read_text()
    # The first key of every file looks like a command.
    found = [line or quoted for line, quoted in SPOKEN.findall(text)]
    for line in found:
        lexer = shlex.shlex(line.replace("\\|", "|"), posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split, lexer.commenters = True, "#"
        try:
            words = list(lexer)
        except ValueError:
            words = line.split()
        end = next((at for at, word in enumerate(words) if word in ENDS), len(words))
        if words[:end]:
            yield line, words[:end]


@pytest.fixture(scope="module", name="known")
def fixture_known():
    names = brokers.run_command("help", "-q").stdout.splitlines()
    known = {name: brokers.run_command("help", *name.split()).stdout for name in names}
    known["list_queues"] = ""  # of RabbitMQ, to show what comes of it
    return known


def problem(words, known):
    """What is wrong with the words behind "bourse"; None: nothing."""
    pair = " ".join(words[:2])
    name = pair if pair in known else words[0]
    if name not in known:
        groups = {one.split()[0] for one in known if " " in one}
        return None if words[0] in groups and (len(words) == 1 or words[1][0] in "{A(") else f'no command "{pair}"'
    for word in words[len(name.split()):]:
        option = re.match(r"--[a-z-]+|-[a-zA-Z]$", word)
        if option and not re.search(rf"(^|[ ,]){re.escape(option[0])}\b", known[name], re.MULTILINE):
            return f'"{name}" has no {option[0]}'
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_of_a_page_is_there_with_its_options(page, known):
    wrong = [f"{line}: {why}" for line, words in commands_of(page) if (why := problem(words, known))]
    assert wrong == []


def test_a_command_that_is_not_there_is_found(known):
    for line, why in (("queue declear q", "no command"), ("ls queues --every", "has no --every"), ("lss", "no command")):
        assert why in problem(line.split(), known)
    assert problem("dlq replay q --wait".split(), known) is None
