"""The template language: the 57 cases of the specification, `when`, warnings, and comparison with plain evaluation."""

# ruff: noqa: E501  # JavaScript stands on one line; small files are read in place

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.engine.errors import ScriptError
from orchestrator.engine.javascript import Sidecar
from orchestrator.engine.values import UNDEFINED, Opaque

from .conftest import write

pytestmark = pytest.mark.asyncio(loop_scope="module")

MEMORY: dict[str, Any] = {
    "platform": "linux", "arch": "x64", "gpu": "nvidia", "port": 42003, "cwd": "/P/api/x",
    "args": {"a": 1, "venv": "env", "s": "a$&b", "d": "a$$b"},
    "local": {"url": "http://x", "list": [1, 2], "obj": {"k": "v"}},
    "input": {"event": ["http://1.2.3.4:80", "1.2.3.4"], "n": 5},
    "self": {"cmds": {"linux": "ls"}}, "envs": {"HF": "x"}, "undef": UNDEFINED, "nul": None,
}  # fmt: skip

# number, property value, result; rows whose result is the template itself say SAME, those of whole objects stand below
SAME = object()
CASES: list[tuple[int, Any, Any]] = [
    (1, "plain", SAME), (2, "{{port}}", 42003), (3, "--port {{port}}", "--port 42003"), (4, "{{ platform }}", "linux"),
    (5, " {{port}}", " 42003"), (6, "{{local.list}}", [1, 2]), (7, "x {{local.list}}", "x 1,2"), (8, "{{local.obj}}", {"k": "v"}),
    (9, "x {{local.obj}}", "x [object Object]"), (10, "{{nul}}", None), (11, "x {{nul}}", "x null"), (12, "{{undef}}", SAME),
    (12, "{{missing}}", SAME), (12, "{{missing.a.b}}", SAME), (13, "x {{missing}} y {{port}}", "x {{missing}} y 42003"),
    (14, "{{input.event[0]}}", "http://1.2.3.4:80"), (15, "{{input.event[9]}}", SAME), (16, "{{platform}}-{{arch}}", SAME),
    (17, "{{local.url}}/{{port}}", SAME), (18, "a {{platform}}-{{arch}}", "a linux-x64"), (19, "{{platform}}-{{arch}} b", "linux-x64 b"),
    (20, "{{`${platform}/${arch}`}}", "linux/x64"), (21, "{{platform === 'linux' ? 'a' : 'b'}}", "a"),
    (22, "{{gpu === 'nvidia' && platform === 'linux'}}", True), (23, "{{ {a:1} }}", {"a": 1}), (23, "{{({a:1})}}", {"a": 1}),
    (24, "{{[1,2,3]}}", [1, 2, 3]), (25, "{{1+}}", SAME), (26, "x {{1+}} {{port}}", SAME), (27, "{{{port}}}", "{{port}}"),
    (28, "x {{{port}}}", "x {{port}}"), (29, "x {{port}} {{{port}}}", "x {{port}} {{port}}"), (30, "{{'{{port}}'}}", 42003),
    (31, ["{{'{{port}}'}}"], ["{{port}}"]), (32, "{{port\n}}", SAME), (33, "{{args.s}}", "a$&b"), (35, "cmd {{args.d}}", "cmd a$b"),
    (36, "{{_.difference([2,1],[2,3])}}", [1]), (37, "{{path.resolve(cwd,'env')}}", "/P/api/x/env"), (38, "{{which('brew')}}", None),
    (39, "x{{which('brew')}}y", "xnully"), (41, "{{self.cmds[platform]}}", "ls"), (42, "{{false}}", False), (42, "{{0}}", 0),
    (42, "{{''}}", ""), (43, "x{{''}}y", "xy"), (44, "{{envs.NOPE}}", SAME), (45, "{{envs.NOPE || 'def'}}", "def"),
    (46, "{{args && args.zz ? args.zz : null}}", None), (47, "{{args?.venv ?? null}}", "env"), (48, "{{Buffer.from('aGk=','base64')}}", b"hi"),
    (49, "{{typeof foo}}", "undefined"), (51, "{{require('fs')}}", SAME), (51, "{{await 1}}", SAME), (52, "{{port; }}", 42003),
    (52, "{{port // c}}", 42003), (55, ["{{nul}}", "{{undef}}", "{{false}}", 3], [None, "{{undef}}", False, 3]),
]  # fmt: skip


@pytest.mark.parametrize(("number", "template", "result"), CASES)
async def test_case(shared: Sidecar, number: int, template: Any, result: Any) -> None:
    got = await shared.render({"v": template}, MEMORY)
    assert got == {"v": template if result is SAME else result}
    assert type(got["v"]) is type(template if result is SAME else result), number


async def test_case_34_dollar_patterns_are_rendered_again(shared: Sidecar) -> None:
    assert await shared.render("cmd {{args.s}}", MEMORY, "once") == "cmd a{{args.s}}b"
    assert (await shared.render({"v": "cmd {{args.s}}"}, MEMORY))["v"] == "cmd aaaa{{args.s}}bbbb"


@pytest.mark.parametrize(("number", "template", "result"), [
    (16, {"a": "{{platform}}-{{arch}}", "b": "{{port}}"}, None),
    (53, {"{{platform}}": 1}, {"linux": 1}),
    (54, {"{{platform === 'win32' ? 'k' : null}}": 1, "b": 2}, {"b": 2}),
    (56, {"a": "{{1+}}", "b": "{{port}}"}, None),
    (57, {"a": {"x": "{{1+}}", "y": "{{port}}"}, "b": "{{port}}"}, {"a": {"x": "{{1+}}", "y": "{{port}}"}, "b": 42003}),
])  # fmt: skip
async def test_object_case(shared: Sidecar, number: int, template: Any, result: Any) -> None:
    assert await shared.render(template, MEMORY) == (template if result is None else result), number


async def test_what_json_cannot_carry_keeps_its_kind(shared: Sidecar) -> None:
    promise = await shared.render("{{kernel.exists('x')}}", {})  # case 40
    assert isinstance(promise, Opaque)
    assert promise.encoded["$opaque"] == "Promise"
    function = await shared.render("{{a => 1}}", {})  # case 50
    assert isinstance(function, Opaque)
    assert function.encoded == {"$function": ""}
    assert await shared.render("{{f()}}", {"f": function}) == 1, "a handle leads back to the live value"


WHENS: list[tuple[Any, bool]] = [
    ("{{gpu === 'amd'}}", False), ("{{which('brew')}}", False), ("{{local.x}}", False), ("{{local.x.y}}", True), ("{{missingName}}", True),
    ("false", True), ("{{'false'}}", True), ("", False), ("{{''}}", False), (None, False), (0, False), ("{{kernel.exists('x')}}", True),
    ("{{!kernel.exists('x')}}", False), ("{{gpu ===\n'amd'}}", True),
]  # fmt: skip


@pytest.mark.parametrize(("when", "runs"), WHENS)
async def test_when(shared: Sidecar, when: Any, *, runs: bool) -> None:
    memory = {**MEMORY, "local": {}}
    assert (await shared.render(when, memory, "when"))["run"] is runs


async def test_step_of_a_run_decides_when_and_warns(shared: Sidecar, tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "a.js": """module.exports = {run: [
        {method: 'log', when: '{{1+}}', params: {}}, {method: 'log', params: {a: '{{platform}}-{{arch}}', b: '{{port}}'}},
        {method: 'log', when: '{{local.x}}'}, null, 'text', {method: 'log', next: 'end'}, {id: 'end', method: 'log', next: null},
        {method: 'log', next: 'nowhere'}]}"""
        },
    )
    await shared.open("w", str(tmp_path / "a.js"))
    with pytest.raises(ScriptError, match=r"`when` of step 1 of a.js: syntax error in"):
        await shared.step("w", 0)
    trapped = await shared.step("w", 1, port=lambda: 42003)
    assert trapped.params == {"a": "{{platform}}-{{arch}}", "b": "{{port}}"}
    assert len(trapped.warnings) == 1
    assert "is taken for one expression" in trapped.warnings[0]
    skipped = await shared.step("w", 2)
    assert (skipped.run, skipped.warnings, skipped.params, skipped.next, skipped.has_next) == (
        False,
        [],
        UNDEFINED,
        3,
        False,
    )
    with pytest.raises(ScriptError, match=r"step 4 of a.js is null"):
        await shared.step("w", 3)
    with pytest.raises(ScriptError, match="missing RPC attribute: method"):
        await shared.step("w", 4)
    assert [
        ((await shared.step("w", index)).has_next, (await shared.step("w", index)).next) for index in (5, 6, 7)
    ] == [(True, 6), (True, None), (True, "nowhere")]
    with pytest.raises(ScriptError, match="there is no step with index 8"):
        await shared.step("w", 8)
    await shared.close_run("w")


NAMES = st.sampled_from(
    [
        "a",
        "b.c",
        "missing",
        "missing.x",
        "n",
        "list[1]",
        "1 +",
        "'t'",
        "`$${n}`",
        "{k: n}",
        "[n, a]",
        "'{{n}}'",
        "'$&'",
        "a ? n : b",
    ]
)
PIECES = st.one_of(
    NAMES.map(lambda name: "{{" + name + "}}"), st.sampled_from(["", "x", " ", "}}", "{{", "{", "\n", "é", "$"])
)
VALUES = st.recursive(
    st.lists(PIECES, max_size=4).map("".join),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.lists(PIECES, max_size=2).map("".join), inner, max_size=3)
    ),
    max_leaves=6,
)

# A direct reading of rules 1 to 8 of the specification, independent of the sidecar's code, as one JavaScript expression.
ORACLE = r"""(() => {
  const names = Object.keys(M), args = Object.values(M);
  class Syntax extends Error {}
  const make = e => { try { return new Function(...names, 'return ' + e) } catch { throw new Syntax() } };
  const run = e => { const f = make(e); try { return f(...args) } catch { return undefined } };
  const str = s => {
    if (/^\{\{\{.+\}\}\}$/.test(s)) return s;
    if (/^\{\{.+\}\}$/.test(s)) { const v = run(s.slice(2, -2)); return v === undefined ? s : v }
    let out = s;
    for (const m of s.match(/\{\{.+?\}\}/g) || []) {
      let v; try { v = run(m.slice(2, -2)) } catch { return s }
      if (v !== undefined) out = out.replaceAll(m, String(v));
    }
    return out;
  };
  const any = v => typeof v === 'string' ? str(v) : Array.isArray(v) ? v.map(any) : v && typeof v === 'object' ? obj(v) : v;
  const obj = v => { try { const o = {}; for (const [k, x] of Object.entries(v)) { const n = str(k); if (n !== null && n !== false) o[n] = any(x) } return o }
                     catch (e) { if (e instanceof Syntax) return v; throw e } };
  try { return any(V) } catch (e) { if (e instanceof Syntax) return V; throw e }
})()"""


async def test_rendering_agrees_with_an_independent_reading(shared: Sidecar) -> None:
    memory = {"a": "A", "b": {"c": 2.5}, "n": 7, "list": [1, None]}
    examples: list[Any] = []

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(VALUES)
    def collect(value: Any) -> None:
        examples.append(value)

    collect()
    for value in examples:
        expected = await shared.render("{{" + " ".join(ORACLE.split("\n")) + "}}", {"M": memory, "V": value}, "once")
        assert await shared.render(value, memory, "once") == expected, value
