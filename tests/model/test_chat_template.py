"""Chat templates: what Hugging Face's expect, and what a hostile one may not do."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from mesh.errors import BadRequest, MeshError, ModelCorrupt
from mesh.model.chat_template import CHATML, ChatTemplate
from mesh.types import ChatMessage

HELLO = (ChatMessage("user", "hello"),)
NOW = datetime(2026, 7, 8, tzinfo=UTC)


def render(source: str, *messages: ChatMessage) -> str:
    special = {"bos_token": "<s>", "eos_token": "</s>"}
    return ChatTemplate.compile(source, special).render(messages or HELLO, NOW)


def test_chatml_is_ready_for_the_assistants_turn() -> None:
    text = "<|im_start|>user\nhello<|im_end|>\n<|im_start|>assistant\n"
    assert render(CHATML) == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ bos_token }}|{{ eos_token }}|{{ add_generation_prompt }}", "<s>|</s>|True"),
        ("{% if tools %}tools{% endif %}{% if enable_thinking is defined %}think{% endif %}.", "."),
        ("  {% if true %}\nblanks of block tags are cut\n  {% endif %}", "blanks of block tags are cut\n"),
        ("{% for m in messages * 3 %}{% if loop.last %}{% break %}{% endif %}x{% endfor %}", "xx"),
        ('{{ {"é": "<"}|tojson }}{{ [1]|tojson(indent=1) }}', '{"é": "<"}[\n 1\n]'),
        ("{{ strftime_now('%Y-%m-%d') }}", "2026-07-08"),
        ("{% generation %}{{ messages[0].content }}{% endgeneration %}", "hello"),
        ("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = 5 %}{% endfor %}{{ ns.n }}", "5"),
        ("{% macro twice(x) %}{{ x ~ x }}{% endmacro %}{{ twice('ab') ~ 1 }}", "abab1"),
        ("{{ messages[0]['content'].split('l')[-1] }}{{ '%s!' % 'a' }}{{ '{}?'.format('b') }}", "oa!b?"),
        ("{% for m in messages[::-1] %}{{ messages|length - loop.index0 }}{% endfor %}", "1"),
        ("{% set spend = 3 %}{% for i in range(2) %}{{ spend }}{% endfor %}", "33"),
        ("{% call(x) m() %}{{ x }}{% endcall %}{% macro m() %}{{ caller(7) }}{% endmacro %}", "7"),
        ("{{ 'a'|indent(2, first=True) }}{{ '%d'|format(3) }}{{ 'B'|lower|trim|upper }}", "  a3B"),
        (
            "{{ messages|map(attribute='role')|join(',') }}{{ 'a'.replace('a', 'b') }}{{ 2 ** 3 * 4 }}",
            "userb32",
        ),
        ("{{ 1700000000 + 1 }}{{ 1000000 * 1000000 }}", "17000000011000000000000"),
        ("{{ '%d' % 1700000000 }}{{ 1700000000 % 7 }}", "17000000006"),
    ],
)
def test_what_templates_of_the_hub_use_works(source: str, text: str) -> None:
    if "{% call" in source:  # a macro must stand before its call
        call, macro = source.split("{% endcall %}")
        source = macro + call + "{% endcall %}"
    assert render(source) == text


def test_a_refusal_says_the_templates_own_words_in_one_line() -> None:
    source = "{% if messages[0].role != 'system' %}{{ raise_exception('roles must\nalternate') }}{% endif %}"
    with pytest.raises(BadRequest, match="roles must alternate") as caught:
        render(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "source", ["{% for %}", "{{ x", "{{ x|nofilter }}", "{% nothing %}", "{{" + "(" * 5000]
)
def test_a_template_that_does_not_compile_is_corrupt(source: str) -> None:
    with pytest.raises(ModelCorrupt, match="chat template does not work"):
        ChatTemplate.compile(source)


@pytest.mark.parametrize(
    "source",
    ["{{ 1 / 0 }}", "{{ nothing.field }}", "{% include 'x' %}", "{{ messages[0].content + 1 }}"],
)
def test_a_template_that_fails_is_corrupt(source: str) -> None:
    with pytest.raises(ModelCorrupt, match="chat template does not work"):
        render(source)


ESCAPES = [
    "{{ ''.__class__.__mro__ }}",
    "{{ messages.__init__.__globals__ }}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update(role='x') }}",
    "{{ ''|attr('__class__')|attr('mro') }}",
    "{{ cycler.__init__.__globals__.os.system('true') }}",
]


@pytest.mark.parametrize("source", ESCAPES)
def test_a_template_that_reaches_out_of_the_sandbox_is_stopped(source: str) -> None:
    with pytest.raises(ModelCorrupt, match="chat template"):
        render(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ raise_exception.__globals__ }}",
        "{{ strftime_now.__self__ }}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ ('{0.__cl' ~ 'ass__}').format(1) }}",
        "{{ ''.format.__self__ }}",
    ],
)
def test_what_is_out_of_the_sandbox_cannot_be_printed(source: str) -> None:
    assert render(source) == ""


NESTED = "{% set a = 'ab' %}" + "{% set a = [a, a] %}" * 60
DOUBLED = (
    "{% set ns = namespace(s='ab') %}{% for i in range(60) %}{% set ns.s = ns.s PLUS ns.s %}{% endfor %}"
)

HUNGRY = [
    "{{ 'a' * 10**12 }}",
    "{{ 10**12 * 'a' }}",
    "{{ ['a'] * 10**12 }}",
    "{{ 'a'.ljust(10**12) }}",
    "{{ 'a'|center(1000000000000) }}",
    "{{ 'a\n'|indent(1000000000000) }}",
    "{{ '{:{}}'.format(1, 1000000000) }}",
    "{{ '{:{w}}'.format(1, w=1000000000) }}",
    "{{ 9**(9**9) }}",
    "{% set t = ('{0}' * 400).format('a' * 100000) %}",
    "{% set t = ('%(a)s' * 400) % {'a': 'a' * 100000} %}",
    "{{ range(10**12)|list }}",
    DOUBLED.replace("PLUS", "+"),
    DOUBLED.replace("PLUS", "~"),
    NESTED + "{{ a }}",
    NESTED + "{{ a|tojson }}",
    NESTED + "{{ a|string }}",
    NESTED + "{{ a ~ a }}",
    "{% set s = 'a' * 100000 %}{{ s.replace('a', s) }}",
    "{% set s = 'a' * 100000 %}{{ ([s] * 100000)|join }}",
    "{% set s = 'a' * 100000 %}{{ s.join(s) }}",
    "{% set s = 'a' * 100000 %}{% for i in s %}{% for j in s %}{% endfor %}{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% for i in range(99999) %}" + "x" * 10_000 + "{% endfor %}",
    "{% set t %}{% for i in range(99999) %}" + "x" * 10_000 + "{% endfor %}{% endset %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% for i in [[1, [1]]] recursive %}{{ loop([[1], [1]]) }}{% endfor %}",
    "{% macro m() %}"
    + "x" * 10_000
    + "{% endmacro %}{% for i in range(90000) %}{% set t = m() %}{% endfor %}",
]


WIDE = [
    "{{ '%1000000000d' % 1 }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '%-1000000000s'|format(1) }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{0:>1000000000}'.format(1) }}",
    "{{ '{a:1000000000}'.format_map({'a': 1}) }}",
]


@pytest.mark.parametrize("source", WIDE)
def test_a_template_that_pads_without_end_is_stopped_before_it_does(source: str) -> None:
    with pytest.raises(ModelCorrupt, match="great width"):
        render(source)


def test_patterns_with_small_widths_work() -> None:
    assert (
        render("{{ '%5.1f' % 2.5 }}{{ '{:>4}'.format(7) }}{{ '**%s** {12345}' % 'a' }}")
        == "  2.5   7**a** {12345}"
    )


@pytest.mark.slow
@pytest.mark.parametrize("source", HUNGRY)
def test_a_template_that_wants_endless_time_or_memory_is_stopped(source: str) -> None:
    stops = "too much work|Range too big|recursion"  # and never that memory ran out
    with pytest.raises(ModelCorrupt, match=f"chat template.*({stops})") as caught:
        render(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["{{ 'a' * 10**12 }}", "{{ 9**(9**9) }}", "{{ 'a'|center(10**12) }}"])
def test_nothing_is_computed_while_compiling(source: str) -> None:
    with pytest.raises(MeshError, match="chat template"):
        render("{% if false %}{% else %}" + source + "{% endif %}")


def test_a_long_conversation_is_no_attack() -> None:
    turns = [ChatMessage("user" if at % 2 == 0 else "assistant", "word " * 400) for at in range(1000)]
    source = (
        "{% for m in messages %}{% if messages|length - loop.index0 > 0 %}{{ m.role ~ ': ' }}"
        "{{ m.content.replace('word', 'term').split('</think>')[-1]|trim + '\n' }}{% endif %}{% endfor %}"
    )
    assert render(source, *turns).count("term") == 400_000


def test_a_loops_variables_do_not_make_its_calls_dear() -> None:
    source = "{% for m in messages %}{% set all = m.content * 100 %}{{ m.content.upper() }}{% endfor %}"
    assert render(source, ChatMessage("user", "a" * 10_000)) == "A" * 10_000


@pytest.mark.slow
def test_a_template_may_be_rendered_again_with_its_whole_budget() -> None:
    template = ChatTemplate.compile("{% for i in range(60000) %}{% endfor %}ok")
    assert [template.render(HELLO, NOW) for _ in range(2)] == ["ok"] * 2
