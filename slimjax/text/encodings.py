"""What the bytes of a file say about it, where they are not UTF-8.

Nothing is decoded by a guess: the guess goes into the message, beside what to do.
"""

import codecs
import re

from slimjax.errors import ConfigError, suggest

UTF8 = "utf-8"

_SIGNATURES = (
    (b"\x1f\x8b", "gzip", "let its name end in .gz"),
    (b"PK\x03\x04", "a zip archive (.zip, .docx, .xlsx, .epub)", "unpack it"),
    (b"%PDF", "PDF", "convert it, pdftotext FILE"),
    (b"\xfd7zXZ\x00", "xz", "unpack it: xz -d FILE"),
    (b"BZh", "bzip2", "unpack it: bzip2 -d FILE"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unpack it: zstd -d FILE"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip", "unpack it: 7z x FILE"),
    (b"PAR1", "Parquet", "write it as JSON lines"),
    (b"SQLite format 3\x00", "an SQLite database", "write it as JSON lines or CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Office document (.doc, .xls)", "save it as text"),
    (b"{\\rtf", "rich text (.rtf)", "save it as plain text"),
    (b"\x89PNG", "a PNG image", "name text files"),
    (b"\xff\xd8\xff", "a JPEG image", "name text files"),
    (b"\x7fELF", "a program", "name text files"),
    (b"\x93NUMPY", "a NumPy array", "name text files"),
    (b"\x80\x04\x95", "a Python pickle", "write it as JSON lines"),
)
_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
# The first bytes of a language's frequent characters, and the share that they must be.
# The first row that fits counts, but for Chinese, where the larger share does.
_DOUBLE_BYTES = (
    ("SHIFT_JIS", "Japanese", ((0x82, 0x83),), 0.25),  # Kana.
    ("EUC-JP", "Japanese", ((0xA4, 0xA5),), 0.25),
    ("EUC-KR", "Korean", ((0xB0, 0xC8),), 0.9),  # Hangul.
)
_CHINESE = (
    ("GB18030", "Chinese", ((0xA1, 0xA3), (0xB0, 0xD7)), 0.6),  # The common 3,755.
    ("BIG5", "Chinese", ((0xA1, 0xC6),), 0.6),
)
_CYRILLIC = "[\u0430-\u044f\u0451]"  # Small letters, as the others are.
_GREEK = "[\u03ac-\u03ce]"
_WESTERN = "[\u00e0-\u00f6\u00f8-\u00ff\u00a0-\u00bf\u00df\u2013-\u201e\u2026\u20ac]"
_ALPHABETS = (
    ("CP1251", "Cyrillic", _CYRILLIC),
    ("KOI8-R", "Cyrillic", _CYRILLIC),
    ("CP1253", "Greek", _GREEK),
)
_NAMES = ("gb18030", "gbk", "big5", "shift_jis", "euc-jp", "euc-kr", "koi8-r")
_NAMES += (UTF8, "utf-16", "latin-1", "cp1251", "cp1252", "cp1253")


def check_encoding(name: object, where: str) -> None:
    """Refuses a name that Python knows no text encoding by.

    Raises:
        ConfigError: With the nearest name.

    Examples:
        >>> check_encoding("gb18030", "config.data.encoding")
    """
    try:
        " ".encode(str(name))  # Codecs that are not of text refuse this.
    except (LookupError, ValueError):
        hint = suggest(str(name).lower(), _NAMES)
        raise ConfigError(f"{where}={name!r} is not an encoding. {hint}") from None


def explain(head: bytes) -> str:
    """Returns what bytes that are not UTF-8 look like, and what to do.

    Args:
        head: Some thousands of bytes, from the beginning of the file if possible.

    Examples:
        >>> explain("他说的是中国人".encode("gb18030"))[:37]
        'It looks like GB18030 (Chinese): set '
    """
    for signature, kind, remedy in _SIGNATURES:
        if head.startswith(signature):
            return f"It looks like {kind}: {remedy}."
    if _is_nearly_utf8(head):
        return "The text around it is UTF-8: mend this character."
    found = _guess(head)
    if found is None:
        return "Find out its encoding, and set config.data.encoding."
    code, language = found
    kind = f"{code} ({language})" if language else code
    return (
        f"It looks like {kind}: set config.data.encoding={code.lower()}, or convert "
        f"it: iconv -f {code} -t UTF-8 FILE > NEW_FILE."
    )


def _is_nearly_utf8(head: bytes) -> bool:
    """Returns whether most characters beyond ASCII are UTF-8."""
    text = head.decode("utf-8", "replace")
    bad = text.count("\ufffd")
    return sum(ord(c) > 127 for c in text) - bad > 2 * bad


def _guess(head: bytes) -> tuple[str, str] | None:
    """Returns the likely encoding, and the language that says so."""
    for mark, code in _MARKS:
        if head.startswith(mark):
            return code, ""
    zeros = [head[i::2].count(0) for i in (0, 1)]
    if max(zeros) > len(head) / 8:
        return ("UTF-16LE" if zeros[1] > zeros[0] else "UTF-16BE"), ""
    if b"\0" in head:
        return None
    for code, language, leads, least in _DOUBLE_BYTES:
        if _share_of_leads(head, code, leads) > least:
            return code, language
    shares = [(_share_of_leads(head, row[0], row[2]), row) for row in _CHINESE]
    share, (code, language, _, least) = max(shares)
    return (code, language) if share > least else _guess_alphabet(head)


def _guess_alphabet(head: bytes) -> tuple[str, str] | None:
    """Returns the likely encoding of one byte a character."""
    runs = re.findall(rb"[\x80-\xff]+", head)
    if sum(map(len, runs)) < 2 * len(runs):  # Single letters among ASCII.
        is_western = _share_of_signs(head, "CP1252", _WESTERN) > 0.5
        return ("CP1252", "Western European") if is_western else None
    shares = [(_share_of_signs(head, c, s), c, name) for c, name, s in _ALPHABETS]
    share, code, name = max(shares)
    return (code, name) if share > 0.6 else None


def _share_of_leads(
    head: bytes, code: str, leads: tuple[tuple[int, int], ...]
) -> float:
    """Returns how many characters beyond ASCII have one of these first bytes."""
    firsts = [c.encode(code)[0] for c in _decode_foreign(head, code)]
    good = sum(any(low <= first <= high for low, high in leads) for first in firsts)
    return good / len(firsts) if firsts else 0.0


def _share_of_signs(head: bytes, code: str, signs: str) -> float:
    """Returns how many characters beyond ASCII match `signs`."""
    foreign = _decode_foreign(head, code)
    return len(re.findall(signs, foreign)) / len(foreign) if foreign else 0.0


def _decode_foreign(head: bytes, code: str) -> str:
    """Returns the characters beyond ASCII; none where `head` is not in this code."""
    try:  # The last character may be cut.
        text = codecs.getincrementaldecoder(code)("strict").decode(head)
    except UnicodeError:
        return ""
    return "".join(c for c in text if ord(c) > 127)
