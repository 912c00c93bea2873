"""What a page says to people: its text in the charset that browsers take, its title, in one pass over the bytes."""

from __future__ import annotations

import html
import re

TOKEN = re.compile(r"<!--|<title(?=[\s/>])", re.IGNORECASE)
END = re.compile(r"</title", re.IGNORECASE)
META = re.compile(
    rb"<meta[\s/][^>]{0,500}?charset\s{0,20}=\s{0,20}[\"']?\s{0,20}([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE
)
CHARSET = re.compile(r"charset\s{0,20}=\s{0,20}[\"']?([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE)
SNIFFED = 1024  # bytes in which browsers look for <meta charset>
LONGEST = 500  # characters of a title that are looked at
MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xfe\xff", "utf-16-be"), (b"\xff\xfe", "utf-16-le"))
NAMES = {  # encoding.spec.whatwg.org: labels that mean more than they say
    "ascii": "cp1252",
    "us-ascii": "cp1252",
    "latin1": "cp1252",
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "utf8": "utf-8",
    "x-sjis": "cp932",
    "sjis": "cp932",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "euc-kr": "cp949",
    "ks_c_5601-1987": "cp949",
    "iso-8859-9": "cp1254",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "koi8": "koi8-r",
    "macintosh": "mac-roman",
    "x-mac-cyrillic": "mac-cyrillic",
    "utf-16": "utf-16-le",
}
KNOWN = re.compile(
    "utf-8|utf-16-?[lb]e|gb18030|big5|euc-jp|iso-2022-jp|koi8-[ru]|ibm866|(windows-|cp)125[0-8]|iso-8859-([2-8]|1[03-6])"
    "|cp(932|949|874)|mac-(roman|cyrillic)"
)
"""The decoders that may be named by a server: some others of Python's take more than one step a byte."""


def text(body: bytes, content_type: str = "") -> str:
    """The body as browsers decode it: byte order mark, then the header's charset, then <meta>, then a guess."""
    for mark, name in MARKS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace")
    said = CHARSET.search(content_type[:500])
    found = META.search(body[:SNIFFED])
    for label in (said[1] if said else "", found[1].decode("ascii") if found else ""):
        if codec := _codec(label):
            return body.decode(codec, "replace")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        if len(body) - error.start < 4:  # the last character was cut off
            return body.decode("utf-8", "replace")
        return body.decode("cp1252", "replace")


def _codec(label: str) -> str:
    wanted = label.strip().lower()
    wanted = NAMES.get(wanted, wanted)
    return wanted if KNOWN.fullmatch(wanted) else ""


def title(page: str) -> str:
    """The page's title on one line; empty without one. Looks at no character more than a few times."""
    at = 0
    while found := TOKEN.search(page, at):
        if found[0] == "<!--":
            at = page.find("-->", found.start() + 2)
            if at < 0:
                return ""
            continue
        begin = page.find(">", found.end()) + 1
        if not begin:
            return ""
        end = END.search(page, begin, begin + 20 * LONGEST)
        shown = page[begin : end.start() if end else begin + LONGEST]
        return " ".join(html.unescape(shown[: 2 * LONGEST]).split())[:80]
    return ""
