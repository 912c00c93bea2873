"""What a bucket's refusals mean, in words that name the bucket and what helps."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass

from engines.backup.errors import FarFailed
from engines.backup.store.s3.access import BucketAccess, BucketAddress, access_file

CODE = re.compile(r"<Code>([A-Za-z0-9.]+)</Code>")
MESSAGE = re.compile(r"<Message>([^<]{1,300})</Message>")
REGION = re.compile(r"<Region>([a-z0-9-]+)</Region>")
STATUS = re.compile(r"status code: (\d{3})")
PAST_THE_END = re.compile(r"<Code>InvalidRange</Code>|status code: 416")
TRANSIENT = re.compile(r"status code: (5(?!01)\d\d|429|408|409)|HTTP error|RequestTimeout|SlowDown|Conflict")
REDIRECT = "redirect without LOCATION"  # obstore's word for an answer of 301, 302 or 307 that says no more
STRANGE = re.compile(
    r"Header missing|non-partial response|Content-Range header|invalid (?:\w+ )*response|following redirect"
)
NO_PATH = re.compile(r'invalid path: Error parsing Path "([^"\n]{1,1024})"')  # a name with // or .. in it
PAGE = re.compile(r"status code: 4\d\d[^<]*<(?:html|!doctype html)", re.IGNORECASE)  # of a proxy: S3 speaks XML
NOWHERE = ("NoSuchBucket", "NoAnswerOfS3")  # answers of 404 that are not about an object
BROKE = "the connection broke"
UNTRUSTED = "its certificate is not trusted"
UNANSWERED = {
    "Connection refused": "nobody listens there",
    "dns error": "that name is not known",
    "Failed to resolve": "that name is not known",
    "InvalidContentType": "what listens there speaks no TLS; is its endpoint http?",
    "WRONG_VERSION_NUMBER": "what listens there speaks no TLS; is its endpoint http?",
    "timed out": "no answer in time",
    "TimedOut": "no answer in time",
}
AGAIN = "then run it again: what was stored stays, and nothing is half there"


@dataclass(frozen=True)
class _Meaning:
    """`why` follows the bucket's name."""

    number: int
    why: str
    helps: str


FULL = _Meaning(errno.ENOSPC, "is full", f"raise its quota, or make room (crashcart backup prune, then gc), {AGAIN}")
DENIED = _Meaning(
    errno.EACCES,
    "does not let this key do that",
    "give the key GetObject, PutObject, DeleteObject and ListBucket there; or use another: {file}",
)
EXPIRED = _Meaning(errno.EACCES, "says that the key has expired", "write a new one to its key_file: {file}")
SLOW = _Meaning(errno.EBUSY, "asked to slow down, for {patience} s on end", f"wait, or run fewer at a time, {AGAIN}")
BROKEN = _Meaning(
    errno.EIO,
    "had a fault of its own",
    f"a full server says no more than this, too: look at its room and its log, {AGAIN}",
)
CLOCK = _Meaning(
    errno.EACCES, "says that this machine's clock is wrong", "set it: timedatectl set-ntp true; see it: date -u"
)
UNKNOWN_HERE = _Meaning(
    errno.EOPNOTSUPP,
    "does not know that request",
    "see what it lacks (crashcart backup fitness)",
)
MEANINGS = {
    "NoSuchBucket": _Meaning(
        errno.ENXIO, "does not exist", "make it there, or correct its name or the endpoint: {file}"
    ),
    "InvalidBucketName": _Meaning(errno.ENXIO, "cannot be: no bucket is named so there", "correct its name"),
    "AccessDenied": DENIED,
    "AllAccessDisabled": DENIED,
    "AccountProblem": DENIED,
    "InvalidAccessKeyId": _Meaning(errno.EACCES, "does not know this access key", "correct its key_file: {file}"),
    "SignatureDoesNotMatch": _Meaning(
        errno.EACCES, "says that the secret does not fit the access key", "correct its key_file: {file}"
    ),
    "ExpiredToken": EXPIRED,
    "TokenRefreshRequired": EXPIRED,
    "InvalidToken": EXPIRED,
    "ExpiredTokenException": EXPIRED,
    "RequestTimeTooSkewed": CLOCK,
    "RequestExpired": CLOCK,
    "RequestTimeout": _Meaning(
        errno.EIO, "waited in vain for the rest of what was sent", f"see how fast the line to it is, {AGAIN}"
    ),
    "OperationAborted": _Meaning(errno.EBUSY, "was busy with that name", f"wait, {AGAIN}"),
    "InvalidObjectState": _Meaning(
        errno.EIO,
        "has put that object into an archive",
        "bring it back there, and take the rule out of its lifecycle: a repository is read at any time",
    ),
    "MethodNotAllowed": UNKNOWN_HERE,
    "NotImplemented": UNKNOWN_HERE,
    "NoAnswerOfS3": _Meaning(
        errno.EPROTO,
        "is answered for as no S3 server does",
        "see that its endpoint is the server itself, and that no proxy or login page stands between: {file}",
    ),
    "SlowDown": SLOW,
    "ServiceUnavailable": SLOW,
    "TooManyRequests": SLOW,
    "InternalError": BROKEN,
    "QuotaExceeded": FULL,
    "ServiceQuotaExceeded": FULL,
    "InsufficientStorage": FULL,
    "StorageQuotaExceeded": FULL,
    "XMinioStorageFull": FULL,
    "TooMuchData": FULL,
}
MISPLACED = (
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "IllegalLocationConstraintException",
    "IncorrectEndpoint",
    "InvalidRegion",
    "InvalidLocationConstraint",
    "Redirect",
    "TemporaryRedirect",
)
BY_STATUS = {
    301: "PermanentRedirect",
    307: "PermanentRedirect",
    401: "AccessDenied",
    403: "AccessDenied",
    407: "NoAnswerOfS3",
    429: "SlowDown",
}
BY_STATUS |= {
    500: "InternalError",
    502: "InternalError",
    503: "SlowDown",
    504: "InternalError",
    507: "InsufficientStorage",
}
BY_STATUS |= {400: "", 404: "", 405: "MethodNotAllowed", 409: "OperationAborted", 501: "NotImplemented"}


def past_the_end(error: BaseException) -> bool:
    """Whether a read began behind the object's end."""
    return bool(PAST_THE_END.search(str(error)))


def denied_in_words(error: BaseException) -> bool:
    """Whether it is S3's own sentence that this key may not: only a server that speaks S3 says that."""
    found = CODE.search(_said(error))
    return found is not None and found[1] == code_of(error) == "AccessDenied"


def transient(error: BaseException) -> bool:
    """Whether the same request may go well a moment later."""
    return bool(TRANSIENT.search(_said(error)))


def broken(error: BaseException) -> bool:
    """Whether the line broke in the middle of a request or of its answer."""
    return "HTTP error" in _said(error) and not code_of(error) and _why(str(error)) == BROKE


def code_of(error: BaseException) -> str:
    """The server's own word for it; empty where it never answered."""
    text = _said(error)
    found = CODE.search(text)
    status = STATUS.search(text)
    if REDIRECT in text:
        return "PermanentRedirect"
    if STRANGE.search(text) or PAGE.search(text):
        return "NoAnswerOfS3"
    if found and found[1] == "AccessDenied" and "expired" in text:  # of a signature: our clock, or theirs
        return "RequestExpired"
    return found[1] if found else BY_STATUS.get(int(status[1]), "") if status else ""


def silent(error: BaseException) -> bool:
    """Whether it is a refusal without a word why, as of every HEAD."""
    text = _said(error)
    status = STATUS.search(text)
    return REDIRECT in text or (status is not None and status[1].startswith("4") and not CODE.search(text))


def explained(error: BaseException, address: BucketAddress, access: BucketAccess) -> FarFailed:
    """The error as one that names the bucket, what is wrong with it, and what helps."""
    code, text = code_of(error), _said(error)
    bucket = f"bucket {address.bucket} at {access.place}"
    if code in MISPLACED:
        found = REGION.search(text)
        region = f": it says {found[1]}" if found else ""
        return FarFailed(
            errno.ENXIO,
            f"{bucket} is of another region than {access.region}{region}",
            f"correct region in {access_file()}",
        )
    if odd := NO_PATH.search(text):
        return FarFailed(
            errno.EINVAL,
            f"{bucket} holds a name that no backup gives and that cannot be listed: {odd[1]!r}",
            f"find out who wrote it (crashcart backup tamper), and delete it there, {AGAIN}",
        )
    message, status = MESSAGE.search(text), STATUS.search(text)
    known = code if code in MEANINGS else BY_STATUS.get(int(status[1]), "") if status else ""
    if known in MEANINGS:
        meaning = MEANINGS[known]
        told = {"file": access_file(), "patience": f"{access.patience:.0f}"}
        said = f" ({code})" if known == code or not message else f" ({code}: {message[1]})"
        return FarFailed(meaning.number, f"{bucket} {meaning.why.format(**told)}{said}", meaning.helps.format(**told))
    if status:
        said = f"{status[1]} {code}".strip() + (f": {message[1]}" if message else "")
        return FarFailed(errno.EIO, f"{bucket} answers {said}", f"find out what it means there, {AGAIN}")
    return _unanswered(str(error), bucket, access)


def _unanswered(text: str, bucket: str, access: BucketAccess) -> FarFailed:
    why = _why(text)
    if why == UNTRUSTED:
        return FarFailed(
            errno.EACCES,
            f"{bucket} shows a certificate that is not trusted",
            f"find out who answers there; one of your own goes into ca_file: {access_file()}",
        )
    return FarFailed(
        errno.EIO,
        f"{bucket} was not reached for {access.patience:.0f} s: {why}",
        f"see that it runs and that this machine reaches it, {AGAIN}",
    )


def _why(text: str) -> str:
    if "certificate" in text.lower():
        return UNTRUSTED
    return next((words for sign, words in UNANSWERED.items() if sign in text), BROKE)


def _said(error: BaseException) -> str:
    """Without the debug part, which repeats it."""
    return str(error).partition("\n\nDebug source:")[0]
