"""A chat template's syntax tree, checked against what templates need and rewritten so that its work is counted.

Arithmetic, joining, slicing and comparing become filters of ours (`_add`, `_join` …), because jinja2 compiles filters
to plain function calls; the bodies of loops and macros begin with one that takes their cost off the budget.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from duologue.engine.template.budget import OverBudgetError

_MAX_NODES = 15_000  # the longest template known has 6,000
_MAX_INT_BITS = 4_096
_REFUSED: dict[type[nodes.Node], str] = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "from … import",
    nodes.Extends: "extends",
    nodes.Block: "block",
    nodes.EvalContextModifier: "autoescape",
    nodes.ScopedEvalContextModifier: "autoescape",
}
_COUNTED_OPERATIONS: dict[type[nodes.Node], str] = {
    nodes.Add: "_add",
    nodes.Mul: "_multiply",
    nodes.Mod: "_modulo",
    nodes.Pow: "_power",
}
_COSTS: dict[type[nodes.Node], int] = {
    nodes.Getattr: 10,
    nodes.Getitem: 10,
    nodes.Call: 30,
    nodes.Filter: 20,
    nodes.Test: 10,
    nodes.List: 12,
    nodes.Tuple: 12,
    nodes.Dict: 30,
    nodes.For: 60,
    nodes.Macro: 60,
    nodes.CallBlock: 60,
    nodes.Concat: 10,
    nodes.AssignBlock: 20,
    nodes.FilterBlock: 30,
    nodes.Output: 5,
}
_BODIES = (nodes.For, nodes.Macro, nodes.CallBlock)  # what they hold is counted each time it runs
_SEARCHES = ("in", "notin")


class RefusedTemplateError(Exception):
    """The template uses what no chat template needs; says what."""


def rewrite(tree: nodes.Template, *, filters: Mapping[str, Callable[..., object]], tests: Mapping[str, object]) -> None:
    """Check a template's tree and make it count, in place.

    Args:
        tree: As jinja2 parsed it.
        filters: Those a template may use.
        tests: Those a template may use.

    Raises:
        RefusedTemplateError: It uses something else.
        OverBudgetError: It is too large.
    """
    _check(tree, filters=filters, tests=tests)
    _charge_body(tree)
    _Rewriter().visit(tree)


def _check(tree: nodes.Template, *, filters: Mapping[str, object], tests: Mapping[str, object]) -> None:
    for number, node in enumerate(_walk(tree)):
        if number > _MAX_NODES:
            raise OverBudgetError(f"it has more than {_MAX_NODES} parts")
        if type(node) in _REFUSED:
            raise RefusedTemplateError(f"it uses '{_REFUSED[type(node)]}'")
        if isinstance(node, nodes.Filter) and node.name not in filters:
            raise RefusedTemplateError(f"it uses the filter '{node.name}'")
        if isinstance(node, nodes.Test) and node.name not in tests:
            raise RefusedTemplateError(f"it uses the test '{node.name}'")
        if isinstance(node, nodes.Const) and isinstance(node.value, int) and node.value.bit_length() > _MAX_INT_BITS:
            raise OverBudgetError(f"a number has more than {_MAX_INT_BITS} bits")
        if isinstance(node, nodes.Call | nodes.Filter | nodes.Test) and (node.dyn_args or node.dyn_kwargs):
            raise RefusedTemplateError("it spreads a list over arguments with '*'")


def _walk(node: nodes.Node) -> Iterator[nodes.Node]:
    waiting = [node]
    while waiting:
        found = waiting.pop()
        yield found
        waiting += found.iter_child_nodes()


def _charge_body(node: nodes.Template | nodes.For | nodes.Macro | nodes.CallBlock) -> None:
    """Put the cost of one run in front of a body, and do so in the bodies inside it."""
    steps, num_bytes, inner = 1, 0, []
    waiting: list[nodes.Node] = list(node.body)
    while waiting:
        part = waiting.pop()
        steps += _COSTS.get(type(part), 2)
        if isinstance(part, nodes.TemplateData):
            num_bytes += 4 * len(part.data)
        elif isinstance(part, nodes.Const) and isinstance(part.value, str):
            num_bytes += 4 * len(part.value)
        if isinstance(part, _BODIES):
            inner.append(part)
            counted = [part.target, part.iter, *part.else_] if isinstance(part, nodes.For) else part.defaults
            waiting += [*counted, part.call] if isinstance(part, nodes.CallBlock) else counted
        else:
            waiting += part.iter_child_nodes()
    for part in inner:
        _charge_body(part)
        if isinstance(part, nodes.For) and part.test is not None:
            cost = sum(_COSTS.get(type(found), 2) for found in _walk(part.test))
            part.test = _counted(part.test, "_count", nodes.Const(cost))
    charge = _counted(nodes.Const(steps), "_spend", nodes.Const(num_bytes))
    node.body.insert(0, nodes.ExprStmt(charge, lineno=node.lineno))


def _counted(value: nodes.Node, name: str, *arguments: nodes.Expr) -> nodes.Filter:
    assert isinstance(value, nodes.Expr)
    return nodes.Filter(value, name, list(arguments), [], None, None, lineno=value.lineno or 1)


class _Rewriter(NodeTransformer):
    """Replaces what can cost more than its own length."""

    def visit_BinExpr(self, node: nodes.BinExpr) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        name = _COUNTED_OPERATIONS.get(type(node))
        return _counted(node.left, name, node.right) if name else node

    visit_Add = visit_Mul = visit_Mod = visit_Pow = visit_BinExpr  # noqa: N815  (names that jinja2 looks for)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _counted(nodes.List(node.nodes, lineno=node.lineno), "_join")

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if len(node.ops) == 1 and _is_cheap(node):
            return node
        sides = [node.expr, *(operand.expr for operand in node.ops)]
        links: list[nodes.Expr] = [
            _counted(left, "_compare", nodes.Const(operand.op), right)
            for (left, right), operand in zip(pairwise(sides), node.ops, strict=True)
        ]
        whole = links[0]
        for link in links[1:]:
            whole = nodes.And(whole, link, lineno=node.lineno)
        return whole

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        ends = (node.arg.start, node.arg.stop, node.arg.step)
        return _counted(node.node, "_slice", *(end or nodes.Const(None) for end in ends))

    def visit_Pair(self, node: nodes.Pair) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if not isinstance(node.key, nodes.Const):
            node.key = _counted(node.key, "_key")
        return node


def _is_cheap(node: nodes.Compare) -> bool:
    """Tell whether a comparison costs no more than a constant in it."""
    left, operand = node.expr, node.ops[0]
    if operand.op in _SEARCHES:
        return isinstance(operand.expr, nodes.List | nodes.Tuple) and all(
            isinstance(item, nodes.Const) for item in operand.expr.items
        )
    plain = (nodes.Const, nodes.Compare, nodes.Test, nodes.Not)
    return isinstance(left, plain) or isinstance(operand.expr, plain)
