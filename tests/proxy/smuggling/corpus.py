"""Requests from the literature on smuggling, and good ones, each a sentence, its bytes and how many requests come out.

`/here` stands for a path that leads to one of the sides, `HOST` for the proxy's name. Every request shows the right
credential, so nothing but the reading stops it. Sources: RFC 9112 §11, Linhart et al. 2005, Kettle 2019 and 2021
(CL.TE, TE.CL, TE.TE, CL.0, h2c), Grenfeldt et al. 2021 (chunk sizes and extensions), Kettle 2025 (Expect, 0.CL).
"""

from typing import NamedTuple

from .passage import CREDENTIAL, HOST

PLACES = ("/v1/chat/completions", "/p/default/v1/runs", "/agent/api/jobs", "/api/upload", "/webui/api/chat")


class Entry(NamedTuple):
    """One connection. `crossing` None: it may be refused, and it may come out as it is read."""

    name: str
    text: str
    crossing: int | None = 0

    def at(self, place: str) -> bytes:
        """Its bytes, sent to this place."""
        return self.text.replace("/here", place).encode("latin-1")


_OURS = f"Host: {HOST.decode()}\r\nAuthorization: {CREDENTIAL.decode()}\r\n"


def request(first: str, *lines: str, body: str = "") -> str:
    """A request to a proxy that knows us."""
    return f"{first} HTTP/1.1\r\n{_OURS}" + "".join(f"{line}\r\n" for line in lines) + "\r\n" + body


def post(*lines: str, body: str = "") -> str:
    """A request whose framing is what matters."""
    return request("POST /here", *lines, body=body)


def chunked(body: str, *lines: str) -> str:
    """A request whose chunks are what matters."""
    return post("Transfer-Encoding: chunked", *lines, body=body)


GET = request("GET /here")
SMUGGLED = request("GET /v1/smuggled")
CHUNKS = "5\r\nhello\r\n0\r\n\r\n"
SIZED = post("Content-Length: 5", body="hello")


def _length(name: str, value: str, crossing: int | None = 0) -> Entry:
    return Entry(f"a Content-Length {name}", post(f"Content-Length:{value}", body="hello") + SMUGGLED, crossing)


def _encoding(name: str, line: str, crossing: int | None = 0) -> Entry:
    return Entry(f"a Transfer-Encoding {name}", post(line, body=CHUNKS) + SMUGGLED, crossing)


def _size(name: str, line: str, crossing: int | None = 0) -> Entry:
    return Entry(f"a chunk size {name}", chunked(f"{line}\r\nhello\r\n0\r\n\r\n") + SMUGGLED, crossing)


def _target(name: str, target: str, crossing: int | None = 0) -> Entry:
    return Entry(f"a target {name}", request(f"GET {target}"), crossing)


def _line(name: str, line: str, crossing: int | None = 0) -> Entry:
    return Entry(f"a header {name}", request("GET /here", line) + SMUGGLED, crossing)


CORPUS: dict[str, tuple[Entry, ...]] = {
    "Content-Length": (
        _length("that agrees with a second one", " 5\r\nContent-Length: 5"),
        _length("before a smaller one", " 5\r\nContent-Length: 0"),
        _length("before a larger one", " 0\r\nContent-Length: 5"),
        _length("before one in other letters", " 5\r\ncontent-LENGTH: 0"),
        _length("far from its second", " 5\r\nA: b\r\nC: d\r\nContent-Length: 0"),
        _length("as a list of equals", " 5, 5"),
        _length("as a list", " 5,0"),
        _length("with a comma behind it", " 5,"),
        _length("with a plus", " +5"),
        _length("with a minus", " -5"),
        _length("of minus nothing", " -0"),
        _length("in two words", " 5 0"),
        _length("in two words with a tab", " 5\t0"),
        _length("in hexadecimal", " 0x5"),
        _length("with a fraction", " 5.0"),
        _length("with an exponent", " 5e0"),
        _length("with an underscore", " 0_5"),
        _length("with a letter behind it", " 5a"),
        _length("with a parameter", " 5;a=b"),
        _length("in quotes", ' "5"'),
        _length("that is empty", ""),
        _length("that is white space", " \t "),
        _length("in a superscript", " \xb2"),
        _length("in full-width digits", " \xef\xbc\x95"),
        _length("behind a vertical tab", " \x0b5"),
        _length("before a form feed", " 5\x0c"),
        _length("before a no-break space", " 5\xa0"),
        _length("before a NUL", " 5\x00"),
        _length("on a folded line", "\r\n 5"),
        _length("folded into a second line", " 5\r\n 0"),
        _length("of 2^63", " 9223372036854775808"),
        _length("of 2^64 + 5", " 18446744073709551621"),
        _length("of 2^32 + 5, more than any side takes", " 4294967301"),
        _length("of forty digits", " " + "9" * 40),
        _length("with leading zeros", " 0000000005", None),
        _length("with leading zeros beyond all counting", " " + "0" * 40 + "5", None),
        _length("without a space", "5", 2),
        _length("behind white space", " \t 5", 2),
        _length("before white space", " 5 \t", None),
        Entry("a Content-Length of nothing hides nothing", post("Content-Length: 0") + SMUGGLED, 2),
        Entry(
            "a GET with a body is no second request",
            request("GET /here", f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED),
            1,
        ),
        Entry(
            "a body that holds a request is a body", post(f"Content-Length: {len(SMUGGLED)}", body=SMUGGLED) + GET, 2
        ),
        Entry("a body that is cut is not whole", post("Content-Length: 50", body="hello"), 0),
    ),
    "Content-Length and Transfer-Encoding": (
        Entry("CL.TE", post("Content-Length: 40", "Transfer-Encoding: chunked", body="0\r\n\r\n" + SMUGGLED)),
        Entry(
            "TE.CL",
            post(
                "Transfer-Encoding: chunked", "Content-Length: 3", body=f"{len(SMUGGLED):x}\r\n{SMUGGLED}\r\n0\r\n\r\n"
            ),
        ),
        Entry("both, and they agree", post("Transfer-Encoding: chunked", "Content-Length: 15", body=CHUNKS)),
        Entry("CL of nothing, and TE", post("Content-Length: 0", "Transfer-Encoding: chunked", body=CHUNKS)),
        Entry("TE that is no encoding, and CL", post("Transfer-Encoding: identity", "Content-Length: 5", body="hello")),
        Entry("TE that is empty, and CL", post("Transfer-Encoding:", "Content-Length: 5", body="hello")),
        Entry(
            "CL, and TE with a space before the colon",
            post("Content-Length: 5", "Transfer-Encoding : chunked", body="hello"),
        ),
        Entry(
            "CL, and TE behind a bare LF", post("Content-Length: 5", "A: b\nTransfer-Encoding: chunked", body="hello")
        ),
        Entry(
            "CL, and TE behind a bare CR", post("Content-Length: 5", "A: b\rTransfer-Encoding: chunked", body="hello")
        ),
        Entry(
            "CL, and TE folded behind another header",
            post("Content-Length: 5", "A: b", " Transfer-Encoding: chunked", body="hello"),
        ),
        Entry(
            "CL, and TE with an underscore, which is another name",
            post("Content-Length: 5", "Transfer_Encoding: chunked", body="hello") + GET,
            2,
        ),
        Entry("TE, and CL with an underscore, which is another name", chunked(CHUNKS, "Content_Length: 3") + GET, 2),
    ),
    "Transfer-Encoding": (
        _encoding("of x, chunked", "Transfer-Encoding: x, chunked"),
        _encoding("of chunked, identity", "Transfer-Encoding: chunked, identity"),
        _encoding("of identity, chunked", "Transfer-Encoding: identity, chunked"),
        _encoding("of chunked twice in one line", "Transfer-Encoding: chunked, chunked"),
        _encoding("of gzip, chunked", "Transfer-Encoding: gzip, chunked"),
        _encoding("of gzip", "Transfer-Encoding: gzip"),
        _encoding("of identity", "Transfer-Encoding: identity"),
        _encoding("of xchunked", "Transfer-Encoding: xchunked"),
        _encoding("of chunkedx", "Transfer-Encoding: chunkedx"),
        _encoding("of chunk", "Transfer-Encoding: chunk"),
        _encoding("in quotes", 'Transfer-Encoding: "chunked"'),
        _encoding("with a parameter", "Transfer-Encoding: chunked;q=1"),
        _encoding("with a comma before it", "Transfer-Encoding: , chunked"),
        _encoding("with a comma behind it", "Transfer-Encoding: chunked,"),
        _encoding("that is empty", "Transfer-Encoding:"),
        _encoding("behind a vertical tab", "Transfer-Encoding: \x0bchunked"),
        _encoding("before a vertical tab", "Transfer-Encoding: chunked\x0b"),
        _encoding("before a form feed", "Transfer-Encoding: chunked\x0c"),
        _encoding("before a NUL", "Transfer-Encoding: chunked\x00"),
        _encoding("behind a no-break space", "Transfer-Encoding: \xa0chunked"),
        _encoding("with a Kelvin sign", "Transfer-Encoding: chun\xe2\x84\xaaed"),
        _encoding("folded before its value", "Transfer-Encoding:\r\n chunked"),
        _encoding("folded behind its value", "Transfer-Encoding: chunked\r\n , identity"),
        _encoding("with a space before the colon", "Transfer-Encoding : chunked"),
        _encoding("with a tab before the colon", "Transfer-Encoding\t: chunked"),
        _encoding("with a space before its name", " Transfer-Encoding: chunked"),
        _encoding("with a NUL in its name", "Transfer-\x00Encoding: chunked"),
        _encoding("there twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        _encoding("before one that is another", "Transfer-Encoding: chunked\r\nTransfer-Encoding: x"),
        _encoding("behind one that is another", "Transfer-encoding: identity\r\nTransfer-Encoding: chunked"),
        _encoding("behind one that is empty", "Transfer-Encoding:\r\nTransfer-Encoding: chunked"),
        _encoding("before white space", "Transfer-Encoding: chunked \t", None),
        _encoding("in capitals", "TRANSFER-ENCODING: CHUNKED", 2),
        _encoding("without a space", "Transfer-Encoding:chunked", 2),
        _encoding("behind a tab", "Transfer-Encoding:\tchunked", 2),
        Entry(
            "a Transfer-Encoding in HTTP/1.0",
            f"POST /here HTTP/1.0\r\n{_OURS}Transfer-Encoding: chunked\r\n\r\n{CHUNKS}",
        ),
    ),
    "Chunks": (
        _size("with a space behind it", "5 "),
        _size("with a space before it", " 5"),
        _size("with a tab behind it", "5\t"),
        _size("with a plus", "+5"),
        _size("with a minus", "-5"),
        _size("of minus nothing", "-0"),
        _size("with 0x", "0x5"),
        _size("with an underscore", "0_5"),
        _size("with an extension", "5;ext"),
        _size("with an extension that has a value", "5;a=b"),
        _size("with an extension in quotes that holds a line", '5;a="\r\n0\r\n\r\n"'),
        _size("with an extension that holds a bare LF", "5;a\nb"),
        _size("with an extension that holds a bare CR", "5;a\rb"),
        _size("with a semicolon", "5;"),
        _size("that is empty", ""),
        _size("that is a letter beyond f", "g"),
        _size("with an h", "5h"),
        _size("with a fraction", "5.0"),
        _size("in two words", "5 5"),
        _size("with a comma", "5,5"),
        _size("with a NUL", "5\x00"),
        _size("with a vertical tab", "5\x0b"),
        _size("with a bare LF", "5\nhello\n0"),
        _size("with two CRs", "5\r"),
        _size("behind an empty line", "\r\n5"),
        _size("of 2^64 + 5", "10000000000000005"),
        _size("of 2^64 - 1", "FFFFFFFFFFFFFFFF"),
        _size("of 2^32 + 5", "100000005"),
        _size("of forty digits", "f" * 40),
        _size("with leading zeros", "00005", None),
        _size("with leading zeros beyond all counting", "0" * 40 + "5", None),
        Entry("a chunk that is longer than it says", chunked("4\r\nhello\r\n0\r\n\r\n") + SMUGGLED),
        Entry("a chunk that is shorter than it says", chunked("6\r\nhello\r\n0\r\n\r\n") + SMUGGLED),
        Entry("a chunk that ends in a bare LF", chunked("5\r\nhello\n0\r\n\r\n") + SMUGGLED),
        Entry("a chunk that ends in a bare CR", chunked("5\r\nhello\r0\r\n\r\n") + SMUGGLED),
        Entry("a chunk that ends in two other bytes", chunked("5\r\nhelloXX0\r\n\r\n") + SMUGGLED),
        Entry("a chunk without its end", chunked("5\r\nhello0\r\n\r\n") + SMUGGLED),
        Entry("a last chunk without its CRLF", chunked("5\r\nhello\r\n0\r\n" + SMUGGLED)),
        Entry("a last chunk that ends in a bare LF", chunked("5\r\nhello\r\n0\r\n\n") + SMUGGLED),
        Entry("a last chunk with an extension", chunked("5\r\nhello\r\n0;a=b\r\n\r\n") + SMUGGLED),
        Entry("a last chunk that never comes", chunked("5\r\nhello\r\n"), 0),
        Entry("a last chunk with many zeros", chunked("5\r\nhello\r\n0000\r\n\r\n") + SMUGGLED, None),
        Entry(
            "chunks in capitals and small letters",
            chunked("A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n") + SMUGGLED,
            2,
        ),
        Entry("no chunk but the last", chunked("0\r\n\r\n") + SMUGGLED, 2),
        Entry("a chunk that holds the end of a body", chunked("7\r\n0\r\n\r\nGE\r\n0\r\n\r\n") + SMUGGLED, 2),
        Entry("a chunk that holds a request", chunked(f"{len(SMUGGLED):X}\r\n{SMUGGLED}\r\n0\r\n\r\n") + GET, 2),
        Entry("chunks that are chunked once more", chunked("f\r\n5\r\nhello\r\n0\r\n\r\n\r\n0\r\n\r\n") + GET, 2),
    ),
    "Trailers": (
        Entry("a trailer", chunked("5\r\nhello\r\n0\r\nA: b\r\n\r\n") + SMUGGLED),
        Entry("a trailer that was announced", chunked("5\r\nhello\r\n0\r\nA: b\r\n\r\n", "Trailer: A") + SMUGGLED),
        Entry("a trailer that is a Content-Length", chunked("0\r\nContent-Length: 5\r\n\r\nhello") + SMUGGLED),
        Entry("a trailer that is a Transfer-Encoding", chunked("0\r\nTransfer-Encoding: chunked\r\n\r\n") + SMUGGLED),
        Entry("a trailer that is a credential", chunked("0\r\nAuthorization: Bearer x\r\n\r\n") + SMUGGLED),
        Entry("a trailer that is folded", chunked("0\r\n A: b\r\n\r\n") + SMUGGLED),
        Entry("a trailer that ends in a bare LF", chunked("0\r\nA: b\n\r\n") + SMUGGLED),
        Entry("a trailer without a colon", chunked("0\r\nhello\r\n\r\n") + SMUGGLED),
        Entry("an announcement of trailers, and none", chunked(CHUNKS, "Trailer: A") + SMUGGLED, 2),
        Entry("TE: trailers, as browsers send it", request("GET /here", "TE: trailers") + SMUGGLED, 2),
    ),
    "Lines": (
        Entry("bare LF everywhere", GET.replace("\r\n", "\n") + SMUGGLED),
        Entry("a bare LF behind the request line", GET.replace("\r\n", "\n", 1) + SMUGGLED),
        Entry("a bare LF at the end of the head", GET[:-2] + "\n" + SMUGGLED),
        Entry("a bare CR behind the request line", GET.replace("\r\n", "\r", 1) + SMUGGLED),
        Entry("bare CR everywhere", GET.replace("\r\n", "\r") + SMUGGLED),
        Entry("LF CR in place of CR LF", GET.replace("\r\n", "\n\r") + SMUGGLED),
        Entry("CR CR LF behind a line", request("GET /here", "A: b\r") + SMUGGLED),
        Entry("CR CR LF at the end of the head", GET[:-2] + "\r\r\n" + SMUGGLED),
        Entry("an empty line before a request", "\r\n" + GET),
        Entry("an empty line between requests", GET + "\r\n" + SMUGGLED, 1),
        Entry("a bare LF between requests", GET + "\n" + SMUGGLED, 1),
        _line("with a bare CR in its value", "A: b\rc"),
        _line("with a bare LF in its value", "A: b\nc"),
        _line("behind a bare CR", "A: b\rC: d"),
        _line("behind a bare LF", "A: b\nC: d"),
        _line("with NUL in its value", "A: b\x00c"),
        _line("with NUL in its name", "A\x00: b"),
        _line("with a control character in its value", "A: b\x01"),
        _line("with DEL in its value", "A: b\x7f"),
        _line("with a vertical tab in its value", "A: b\x0bc"),
        _line("that is folded with a space", "A: b\r\n c"),
        _line("that is folded with a tab", "A: b\r\n\tc"),
        _line("that is folded to nothing", "A: b\r\n "),
        _line("that is folded before its value", "A:\r\n b"),
        Entry("a first header line that is folded", f"GET /here HTTP/1.1\r\n A: b\r\n{_OURS}\r\n" + SMUGGLED),
        Entry("NUL before a request", "\x00" + GET),
        Entry("NUL in the request line", request("GET /here\x00")),
        Entry("a mark of byte order before a request", "\xef\xbb\xbf" + GET),
        Entry("a TLS handshake", "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + "\x00" * 40 + "\r\n\r\n"),
    ),
    "Header names": (
        _line("with a space before the colon", "A : b"),
        _line("with a tab before the colon", "A\t: b"),
        _line("with a space in its name", "A b: c"),
        _line("with a space before its name", " A: b"),
        _line("without a name", ": b"),
        _line("without a colon", "A"),
        _line("with a bracket in its name", "A(b: c"),
        _line("with a quote in its name", 'A": b'),
        _line("with a slash in its name", "A/b: c"),
        _line("with a letter beyond ASCII in its name", "\xc3\x84: b"),
        _line("that is white space", "   "),
        _line("with two colons", "A:: b", 2),
        _line("with every odd character that a name may have", "!#$%&'*+-.^`|~9: b", 2),
        _line("with an underscore", "A_b: c", 2),
        _line("with bytes beyond ASCII in its value", "A: \xc3\xa4\xff\x80", 2),
        _line("that is empty", "A:", 2),
        _line("amid white space", "A: \t b \t", 2),
    ),
    "Targets": (
        _target("in absolute form", "http://proxy.example/here"),
        _target("in absolute form of another host", "http://evil.example/here"),
        _target("in absolute form of another scheme", "https://proxy.example/here"),
        _target("in absolute form without a path", "http://proxy.example"),
        _target("in authority form", "proxy.example:80"),
        _target("in asterisk form", "*"),
        _target("without a slash", "here"),
        _target("that is a query", "?a=/here"),
        _target("with two slashes before it", "//here"),
        _target("with two slashes in it", "/here//a"),
        _target("with two slashes behind it", "/here//"),
        _target("with a backslash", "/here\\a"),
        _target("with a backslash before it", "\\/here"),
        _target("with a dot segment", "/here/./a"),
        _target("with two dots", "/here/../a"),
        _target("with two dots at its end", "/here/.."),
        _target("with a dot at its end", "/here/."),
        _target("with two dots at its beginning", "/../here"),
        _target("that leaves its side", "/here/../../../../api/env"),
        _target("with an encoded dot", "/here/%2e/a"),
        _target("with encoded dots", "/here/%2e%2E/a"),
        _target("with one dot encoded", "/here/.%2e/a"),
        _target("with an encoded slash", "/here%2fa"),
        _target("with an encoded slash in capitals", "/here%2Fa"),
        _target("with encoded dots and slash", "/here%2f..%2fa"),
        _target("with an encoded backslash", "/here%5ca"),
        _target("with an encoded NUL", "/here%00"),
        _target("with an encoded CRLF", "/here%0d%0aA:%20b"),
        _target("with an encoded DEL", "/here%7f"),
        _target("with a percent sign alone", "/here%"),
        _target("with half an escape", "/here%2"),
        _target("with a wrong escape", "/here%zz"),
        _target("with an escape of another kind", "/here/%u002e%u002e/a"),
        _target("with a fragment", "/here#a"),
        _target("with a space", "/here a"),
        _target("with a tab", "/here\ta"),
        _target("with bytes beyond ASCII", "/here\xc3\xa4"),
        _target("behind two spaces", " /here"),
        _target("that is missing", ""),
        _target("with dots that are no segment", "/here/...", 1),
        _target("with a dot in a name", "/here/a.b", 1),
        _target("with a tilde and more", "/here/~a;b=c,d@e!f$g&h'(i)*+j:k", 1),
        _target("with an encoded space", "/here/a%20b", 1),
        _target("with bytes beyond ASCII, encoded", "/here/%C3%A4", 1),
        _target("with an encoded percent sign", "/here/%252e%252e/a", 1),
        _target("with a query that holds everything", "/here?a=//../%2e%2e/%2f%0d%0a%00&b[]={|}?", 1),
        _target("with an empty query", "/here?", 1),
        Entry("a request line with a space behind it", GET.replace("HTTP/1.1\r\n", "HTTP/1.1 \r\n", 1)),
        Entry("a request line with a tab", GET.replace(" HTTP/1.1", "\tHTTP/1.1", 1)),
        Entry("a request line with a space before it", " " + GET),
        Entry("a request line with four words", GET.replace(" HTTP/1.1", " HTTP/1.1 HTTP/1.1", 1)),
        Entry("a method that nobody knows", request("SMUGGLE /here")),
        Entry("a method in small letters", request("get /here")),
        Entry("a method with a bracket", request("G(T /here")),
        Entry("CONNECT", request("CONNECT proxy.example:80")),
        Entry("TRACE", request("TRACE /here")),
        Entry("no method", request("/here")),
    ),
    "Sizes": (
        _target("of more bytes than a line may have", "/here?" + "a" * 8200),
        _target("of 40,000 bytes", "/here?" + "a" * 40_000),
        _line("of more bytes than a line may have", "A: " + "a" * 8200),
        _line("with a name of more bytes than a line may have", "A" * 8200 + ": b"),
        _line("that never ends", "A: " + "a" * 70_000),
        Entry("a head of 40,000 bytes", request("GET /here", *(f"A{number}: " + "a" * 4000 for number in range(10)))),
        Entry("more headers than a head may have", request("GET /here", *(f"A{number}: b" for number in range(100)))),
        Entry("a request line that never ends", "GET /" + "a" * 40_000),
        Entry("white space that never ends", request("GET /here", "A: " + " " * 40_000)),
        Entry("a long line that is legal", request("GET /here", "A: " + "a" * 8000) + SMUGGLED, 2),
        Entry("a long target that is legal", request("GET /here?" + "a" * 8000) + SMUGGLED, 2),
        Entry(
            "a long head that is legal", request("GET /here", *(f"A{number}: " + "a" * 4000 for number in range(7))), 1
        ),
        Entry("many headers that are legal", request("GET /here", *(f"A{number}: b" for number in range(90))), 1),
    ),
    "Versions": (
        Entry("HTTP/0.9", "GET /here\r\n"),
        Entry("HTTP/0.9 with a head", f"GET /here\r\n{_OURS}\r\n"),
        Entry("HTTP/0.9 before another request", "GET /here\r\n" + SMUGGLED),
        Entry("HTTP/1.0", f"GET /here HTTP/1.0\r\n{_OURS}\r\n"),
        Entry("HTTP/1.0 that is kept alive", f"GET /here HTTP/1.0\r\n{_OURS}Connection: keep-alive\r\n\r\n" + SMUGGLED),
        Entry("HTTP/1.0 without Host", f"GET /here HTTP/1.0\r\nAuthorization: {CREDENTIAL.decode()}\r\n\r\n"),
        Entry("HTTP/1.2", f"GET /here HTTP/1.2\r\n{_OURS}\r\n"),
        Entry("HTTP/2.0", f"GET /here HTTP/2.0\r\n{_OURS}\r\n"),
        Entry("HTTP/1.10", f"GET /here HTTP/1.10\r\n{_OURS}\r\n"),
        Entry("HTTP/1.1 with a zero", f"GET /here HTTP/01.1\r\n{_OURS}\r\n"),
        Entry("HTTP/1", f"GET /here HTTP/1\r\n{_OURS}\r\n"),
        Entry("HTTP in small letters", f"GET /here http/1.1\r\n{_OURS}\r\n"),
        Entry("HTTP that is misspelt", f"GET /here HTPP/1.1\r\n{_OURS}\r\n"),
        Entry("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
        Entry("the preface of HTTP/2 behind a request", GET + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 1),
        Entry("ICE", f"GET /here ICE/1.1\r\n{_OURS}\r\n"),
    ),
    "Other protocols": (
        Entry(
            "an Upgrade to h2c",
            request(
                "GET /here",
                "Connection: Upgrade, HTTP2-Settings",
                "Upgrade: h2c",
                "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
            )
            + SMUGGLED,
        ),
        Entry(
            "an Upgrade to h2c that Connection does not name",
            request("GET /here", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA") + SMUGGLED,
        ),
        Entry(
            "an Upgrade to h2c beside WebSocket",
            request("GET /here", "Connection: Upgrade", "Upgrade: websocket, h2c") + SMUGGLED,
        ),
        Entry(
            "an Upgrade to h2c behind one to WebSocket",
            request("GET /here", "Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c") + SMUGGLED,
        ),
        Entry("an Upgrade to TLS", request("GET /here", "Connection: Upgrade", "Upgrade: TLS/1.0") + SMUGGLED),
        Entry("an Upgrade to nothing", request("GET /here", "Connection: Upgrade", "Upgrade:") + SMUGGLED),
        Entry("a WebSocket that is posted", post("Connection: Upgrade", "Upgrade: websocket") + SMUGGLED),
        Entry(
            "a WebSocket with a body",
            request("GET /here", "Connection: Upgrade", "Upgrade: websocket", "Content-Length: 5", body="hello")
            + SMUGGLED,
        ),
        Entry("a WebSocket that Connection does not name", request("GET /here", "Upgrade: websocket") + SMUGGLED),
        Entry(
            "a WebSocket that the side declines",
            request(
                "GET /here",
                "Connection: Upgrade",
                "Upgrade: websocket",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                "Sec-WebSocket-Version: 13",
            )
            + SMUGGLED,
            1,
        ),
        Entry(
            "HTTP2-Settings without an Upgrade",
            request("GET /here", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA") + SMUGGLED,
            2,
        ),
    ),
    "Expectations": (
        Entry("an expectation that nobody knows", post("Expect: 200-ok", "Content-Length: 5", body="hello") + SMUGGLED),
        Entry("an expectation that is empty", post("Expect:", "Content-Length: 5", body="hello") + SMUGGLED),
        Entry(
            "an expectation of two things",
            post("Expect: 100-continue, y", "Content-Length: 5", body="hello") + SMUGGLED,
        ),
        Entry(
            "an expectation before another",
            post("Expect: y", "Expect: 100-continue", "Content-Length: 5", body="hello") + SMUGGLED,
        ),
        Entry(
            "an expectation that is there twice",
            post("Expect: 100-continue", "Expect: 100-continue", "Content-Length: 5", body="hello") + SMUGGLED,
            None,
        ),
        Entry(
            "an expectation of a length", post("Expect: 100-continue", "Content-Length: 5", body="hello") + SMUGGLED, 2
        ),
        Entry("an expectation of chunks", chunked(CHUNKS, "Expect: 100-Continue") + SMUGGLED, 2),
        Entry("an expectation without a body", request("GET /here", "Expect: 100-continue") + SMUGGLED, 2),
    ),
    "Names and credentials": (
        Entry("no Host", f"GET /here HTTP/1.1\r\nAuthorization: {CREDENTIAL.decode()}\r\n\r\n"),
        Entry("two Hosts that agree", request("GET /here", f"Host: {HOST.decode()}")),
        Entry("two Hosts that differ", request("GET /here", "Host: evil.example")),
        Entry("a Host that is empty", GET.replace(HOST.decode(), "", 1)),
        Entry("a Host of another", GET.replace(HOST.decode(), "evil.example", 1)),
        Entry("a Host with a user", GET.replace(HOST.decode(), "a@" + HOST.decode(), 1)),
        Entry("a Host with a path", GET.replace(HOST.decode(), HOST.decode() + "/a", 1)),
        Entry("a Host as a list", GET.replace(HOST.decode(), HOST.decode() + ", evil.example", 1)),
        Entry("a Host with a space before the colon", GET.replace("Host:", "Host :", 1)),
        Entry("no credential", f"GET /here HTTP/1.1\r\nHost: {HOST.decode()}\r\n\r\n"),
        Entry("two credentials", request("GET /here", f"Authorization: {CREDENTIAL.decode()}")),
        Entry("a credential and a Bearer", request("GET /here", "Authorization: Bearer x")),
        Entry("the page of another origin", request("GET /here", "Origin: http://evil.example")),
        Entry("a page of no origin", request("GET /here", "Origin: null")),
        Entry("a page of its own", request("GET /here", f"Origin: http://{HOST.decode()}"), 1),
    ),
    "Connection": (
        Entry("a request behind the last", request("GET /here", "Connection: close") + SMUGGLED, 1),
        Entry("a request behind the last of a list", request("GET /here", "Connection: x, Close") + SMUGGLED, 1),
        Entry("two Connections", request("GET /here", "Connection: keep-alive", "Connection: close") + SMUGGLED, None),
        Entry(
            "a Connection that names the framing",
            post("Connection: Content-Length", "Content-Length: 5", body="hello") + SMUGGLED,
            2,
        ),
        Entry("a Connection that names the chunks", chunked(CHUNKS, "Connection: transfer-encoding") + SMUGGLED, 2),
        Entry(
            "a Connection that names Host and the credential",
            request("GET /here", "Connection: Host, Authorization") + SMUGGLED,
            2,
        ),
        Entry("a Connection that is empty", request("GET /here", "Connection:") + SMUGGLED, 2),
        Entry("a Proxy-Connection", request("GET /here", "Proxy-Connection: close") + SMUGGLED, 2),
    ),
    "Pipelining": (
        Entry("a good request behind a wrong request line", "GET  /here HTTP/1.1\r\n\r\n" + SMUGGLED),
        Entry("a good request behind a wrong header", request("GET /here", "A : b") + SMUGGLED),
        Entry("a good request behind a wrong length", post("Content-Length: x") + SMUGGLED),
        Entry("a good request behind a wrong chunk", chunked("x\r\n\r\n") + SMUGGLED),
        Entry(
            "a good request behind a missing Host",
            f"GET /here HTTP/1.1\r\nAuthorization: {CREDENTIAL.decode()}\r\n\r\n{SMUGGLED}",
        ),
        Entry("a good request behind two Hosts", request("GET /here", "Host: evil.example") + SMUGGLED),
        Entry("a good request before a wrong one, and one behind", GET + "GARBAGE\r\n\r\n" + SMUGGLED, 1),
        Entry("good requests before a wrong chunk", GET + SIZED + chunked("5;\r\nhello\r\n") + SMUGGLED, 2),
        Entry("good requests", GET + SIZED + chunked(CHUNKS) + SMUGGLED, 4),
        Entry(
            "good requests of every method",
            "".join(
                request(f"{method} /here") for method in ("GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS")
            ),
            7,
        ),
        Entry("a good request before half a one", GET + SMUGGLED[:40], 1),
        Entry("a good request before noise", GET + "\xff\xfe\x00\x01\r\n\r\n", 1),
        Entry("twenty good requests", GET * 20, 20),
    ),
    "Good ones": (
        Entry("a GET", GET, 1),
        Entry("a HEAD", request("HEAD /here"), 1),
        Entry("a POST with a length", SIZED, 1),
        Entry("a POST with chunks", chunked(CHUNKS), 1),
        Entry("a POST without a body", post(), 1),
        Entry("a POST of JSON", post("Content-Type: application/json", "Content-Length: 13", body='{"stream": 1}'), 1),
        Entry("a PUT of lines", request("PUT /here", "Content-Length: 8", body="\r\n\r\n\n\r\r\n"), 1),
        Entry("a POST of NULs", post("Content-Length: 5", body="\x00" * 5), 1),
        Entry("many small chunks", chunked("1\r\na\r\n" * 200 + "0\r\n\r\n"), 1),
        Entry(
            "what a browser sends",
            request(
                "GET /here?a=b",
                "Accept: text/html,*/*;q=0.8",
                "Accept-Encoding: gzip, deflate, br",
                "Accept-Language: en,de;q=0.5",
                "Cache-Control: no-cache",
                "Connection: keep-alive",
                'Sec-CH-UA: "Not A(Brand";v="8"',
                "Sec-Fetch-Mode: navigate",
                "TE: trailers",
                "User-Agent: Mozilla/5.0 (X11)",
                "Cookie: a=b; c=d",
            ),
            1,
        ),
    ),
}
