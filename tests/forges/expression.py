"""The expressions of both forges: `==`, `!=`, `&&`, `||`, `!`, brackets, texts, names, bare calls."""

import re

TOKEN = re.compile(
    r"""\s*(?:(?P<sign>==|!=|&&|\|\||[!()])|(?P<text>'[^']*'|"[^"]*")|(?P<name>[$\w][\w.-]*))"""
)


def evaluate(text, lookup):
    """The value of an expression. `lookup`: from a name (`github.ref`, `$CI`, `always()`) to its value."""
    return _Parser(text, lookup).whole()


def fill(text, lookup):
    """A text with its `${{ }}` in it evaluated; the value itself where there is nothing else."""
    if not isinstance(text, str):
        return text
    if alone := re.fullmatch(r"\$\{\{(.*?)\}\}", text.strip()):
        return evaluate(alone[1], lookup)
    return re.sub(r"\$\{\{(.*?)\}\}", lambda found: str(evaluate(found[1], lookup) or ""), text)


class _Parser:
    def __init__(self, text, lookup):
        self.tokens, self.lookup, self.at = [], lookup, 0
        place = 0
        while text[place:].strip():
            found = TOKEN.match(text, place)
            assert found, f"not understood: {text[place:]!r}"
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            place = found.end()

    def whole(self):
        value = self.either()
        assert self.at == len(self.tokens), f"left over: {self.tokens[self.at :]}"
        return value

    def either(self):
        value = self.both()
        while self.sign("||"):
            other = self.both()
            value = value or other
        return value

    def both(self):
        value = self.equal()
        while self.sign("&&"):
            other = self.equal()
            value = value and other
        return value

    def equal(self):
        value = self.single()
        for sign, same in (("==", True), ("!=", False)):
            if self.sign(sign):
                return (value == self.single()) is same
        return value

    def single(self):
        if self.sign("!"):
            return not self.single()
        if self.sign("("):
            value = self.either()
            assert self.sign(")")
            return value
        kind, token = self.tokens[self.at]
        self.at += 1
        if kind == "text":
            return token[1:-1]
        assert kind == "name", token
        if self.sign("("):
            assert self.sign(")"), f"{token}: takes arguments, which nobody here gives"
            token += "()"
        return self.lookup(token)

    def sign(self, sign):
        found = self.at < len(self.tokens) and self.tokens[self.at] == ("sign", sign)
        self.at += found
        return found
