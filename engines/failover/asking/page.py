"""What a page says: its text in the charset that browsers take, its title, where it sends on, in one pass each."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

TOKEN = re.compile(r"<!--|<(title|meta|script|style|textarea|template|noscript|svg)(?=[\s/>])", re.IGNORECASE)
END = re.compile(r"</title", re.IGNORECASE)
RAW = ("script", "style", "textarea")  # without an end, all that follows is theirs
NAMED = {name: re.compile(f"</{name}", re.IGNORECASE) for name in (*RAW, "template", "noscript", "svg")}
"""What browsers that run scripts show no title and heed no <meta> of."""
REFRESH = re.compile(r"\shttp-equiv\s{0,20}=\s{0,20}[\"']?refresh(?:[\"'\s/]|$)", re.IGNORECASE)
CONTENT = re.compile(
    r"\scontent\s{0,20}=\s{0,20}(?:\"([^\"]{0,2000})\"|'([^']{0,2000})'|([^\s\"'>]{1,2000}))", re.IGNORECASE
)
SENDS = re.compile(r"[\d.]{0,20}\s{0,20}[;,\s]\s{0,20}+(?:url\s{0,20}=\s{0,20})?+[\"']?([^\"']{1,2000})", re.IGNORECASE)
TAG = 4096  # characters of a <meta> that are looked at
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
    "unicode-1-1-utf-8": "utf-8",
    "x-user-defined": "cp1252",
    "l1": "cp1252",
    "cp819": "cp1252",
    "iso-ir-100": "cp1252",
    "latin2": "iso-8859-2",
    "l2": "iso-8859-2",
    "iso8859-2": "iso-8859-2",
    "iso8859-15": "iso-8859-15",
    "latin9": "iso-8859-15",
    "l9": "iso-8859-15",
    "latin5": "cp1254",
    "iso8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "x-cp1251": "cp1251",
    "x-cp1252": "cp1252",
    "x-cp1250": "cp1250",
    "cyrillic": "iso-8859-5",
    "greek": "iso-8859-7",
    "koi": "koi8-r",
    "koi8-ru": "koi8-u",
    "cp866": "ibm866",
    "x-gb2312": "gb18030",
    "gb_2312-80": "gb18030",
    "chinese": "gb18030",
    "big5-hkscs": "big5",
    "cn-big5": "big5",
    "x-euc-jp": "euc-jp",
    "windows-31j": "cp932",
    "ms_kanji": "cp932",
    "windows-949": "cp949",
    "korean": "cp949",
    "ksc5601": "cp949",
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
    if codec := _codec(said[1] if said else ""):
        return body.decode(codec, "replace")
    if found and (codec := _codec(found[1].decode("ascii"))):  # who could read the label does not read UTF-16
        return body.decode("utf-8" if codec.startswith("utf-16") else codec, "replace")
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
    for name, begin, end in _tags(page):
        if name == "title":
            return " ".join(html.unescape(page[begin : min(end, begin + 2 * LONGEST)]).split())[:LONGEST]
    return ""


def sent_on(page: str) -> str:
    """Where <meta http-equiv=refresh> sends visitors, as written; empty where the page stays, or loads itself anew."""
    for name, begin, end in _tags(page):
        tag = page[begin - 1 : min(end, begin + TAG)]
        if name == "meta" and REFRESH.search(tag) and (content := CONTENT.search(tag)):
            return refreshed(html.unescape(next(filter(None, content.groups()), "")))
    return ""


def refreshed(value: str) -> str:
    """The URL in the value of Refresh, header or <meta>; empty where it names none."""
    found = SENDS.fullmatch(value.strip()[:2000].rstrip("\"'"))
    return found[1].strip() if found else ""


def _tags(page: str) -> Iterator[tuple[str, int, int]]:
    """Titles and metas that browsers heed: name, where its text or attributes begin, and where they end."""
    at, unclosed = 0, set[str]()
    ends = -1  # where the next title ends, from where it was last looked for: each is looked for once
    while found := TOKEN.search(page, at):
        name = (found[1] or "").lower()
        if not name:
            at = page.find("-->", found.start() + 2)
        elif name in NAMED:
            end = None if name in unclosed else NAMED[name].search(page, found.end())
            unclosed |= set() if end else {name}
            at = end.end() if end else found.end() if name not in RAW else -1
        else:
            at = page.find(">", found.end())
        if at < 0:
            return
        if name == "meta":
            yield name, found.end(), at
        if name == "title":
            if ends <= at:
                ends = end.start() if (end := END.search(page, at + 1)) else len(page) + 20 * LONGEST
            yield name, at + 1, ends if ends <= at + 20 * LONGEST else at + 1 + LONGEST
