"""The packaged example: real archives through a real recipe, and through a real installation."""

from __future__ import annotations

import email.mime.multipart
import email.mime.text
import gzip
import importlib
import json
import mailbox
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import factory
from factory import Dataset, Drop, InputError

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "plugins" / "factory-mail"
Write = Callable[[str, str], Path]

RECIPE = """
name: letters
targets:
  letters:
    from: {uri}
    steps: [no_automatic_mail]
"""


def message(text: str = "", **headers: str) -> EmailMessage:
    made = EmailMessage()
    for name, value in {"From": "ann@example.org", "To": "bob@example.org", **headers}.items():
        made[name.replace("_", "-")] = value
    if text:
        made.set_content(text)
    return made


def raw(headers: str, body: bytes) -> bytes:
    return headers.strip().encode() + b"\n\n" + body


def write_mbox(path: Path, *messages: Any) -> Path:
    """An mbox written by the standard library."""
    path.parent.mkdir(parents=True, exist_ok=True)
    box = mailbox.mbox(path)
    for one in messages:
        box.add(one)
    box.close()
    return path


@pytest.fixture
def rows(mail: ModuleType) -> Callable[[str], list[tuple[str, Any]]]:
    """All (place, fields or Drop) of an archive."""

    def read(uri: str) -> list[tuple[str, Any]]:
        source = mail.open_dataset(uri)
        return [row for piece in source.pieces() for row in source.rows(piece)]

    return read


def archive(project: Path) -> Path:
    """Nine messages: good ones of every form, and four that cannot be used."""
    table = message("See the table.\n", Subject="=?utf-8?q?Gr=C3=BC=C3=9Fe?= aus Bonn", Message_ID="<1@x>")
    table["Date"] = "Fri, 03 May 2024 10:12:00 +0200"
    table.add_attachment(b"a,b\n1,2\n", maintype="text", subtype="csv", filename="table.csv")
    both = message("Plain wins.\n", Subject="both")
    both.add_alternative("<p>HTML loses.</p>", subtype="html")
    quoted = message("Schöne Grüße aus Köln, " + "x" * 90 + "\n", Subject="quoted-printable")
    quoted.replace_header("Content-Transfer-Encoding", "quoted-printable")
    quoted.set_payload("Sch=C3=B6ne Gr=C3=BC=C3=9Fe =\naus K=C3=B6ln")
    page = email.mime.text.MIMEText("<html><style>p {}</style><p>Only<br>HTML &amp; more</p></html>", "html", "utf-8")
    reply = message(
        "Yes, at noon.\n\nOn Fri, 3 May 2024 at 10:12, Ann\n<ann@example.org> wrote:\n\n> Lunch?\n> Ann\n\n-- \nBob\n",
        References="<1@x> <2@x>",
        In_Reply_To="<2@x>",
    )
    return write_mbox(
        project / "mail" / "a.mbox",
        table,
        both,
        quoted,
        page,
        reply,
        raw("Subject: broken\nContent-Type: text/plain; charset=utf-8", b"caf\xe9 \xff\n"),
        raw("Subject: unknown\nContent-Type: text/plain; charset=klingon", b"qapla\n"),
        message("> Everything is quoted.\n"),
        message("I am away until Monday.\n", Auto_Submitted="auto-replied (vacation)"),
    )


TEXTS = ["See the table.", "Plain wins.", "Schöne Grüße aus Köln", "Only\nHTML & more", "Yes, at noon."]


def test_a_recipe_reads_an_archive(project: Path, mail: ModuleType, write: Write) -> None:
    archive(project)
    result = factory.build(write("recipe.yaml", RECIPE.format(uri="mbox:mail/*.mbox")))
    letters = result["letters"]
    assert isinstance(letters, Dataset)
    kept = list(letters)
    assert [record["text"] for record in kept] == TEXTS
    assert [record["parents"] for record in kept] == [[f"mail/a.mbox#{n}"] for n in range(1, 6)]
    first, *_, last = (record["meta"] for record in kept)
    assert (first["subject"], first["date"], first["attachments"]) == (
        "Grüße aus Bonn",
        "2024-05-03T10:12:00+02:00",
        1,
    )
    assert last["thread"] == first["thread"] == factory.digest("<1@x>")
    stage = result.plan.targets["letters"]
    assert [(row["parents"][0], row["reason"]) for row in stage.store.dropped(stage.fingerprint)] == [
        ("mail/a.mbox#6", "broken charset"),
        ("mail/a.mbox#7", "unknown charset"),
        ("mail/a.mbox#8", "nothing but quotes"),
        ("mail/a.mbox#9", "automatic mail"),
    ]


def test_nobody_is_named_unless_asked(project: Path, rows: Callable[[str], list[tuple[str, Any]]]) -> None:
    archive(project)
    assert "example.org" not in json.dumps([row for _, row in rows("mbox:mail/a.mbox") if not isinstance(row, Drop)])
    kept = rows("mbox:mail/a.mbox?addresses=keep&quotes=keep")
    assert kept[0][1]["meta"]["from"] == "ann@example.org"
    assert kept[4][1]["text"].endswith("> Lunch?\n> Ann\n\n-- \nBob")
    assert kept[7][1]["text"] == "> Everything is quoted."


def test_options_change_what_is_read_again(project: Path, mail: ModuleType) -> None:
    archive(project)
    (plain,) = mail.open_dataset("mbox:mail/a.mbox").pieces()
    (whole,) = mail.open_dataset("mbox:mail/a.mbox?quotes=keep").pieces()
    assert plain.key != whole.key
    assert plain.files == ("mail/a.mbox",)


def test_compressed_archives(project: Path, rows: Callable[[str], list[tuple[str, Any]]]) -> None:
    data = archive(project).read_bytes()
    plain = rows("mbox:mail/a.mbox")
    packed = project / "mail" / "b.mbox.gz"
    packed.write_bytes(gzip.compress(data))
    assert [row for _, row in rows("mbox:mail/b.mbox.gz")] == [row for _, row in plain]
    packed.write_bytes(gzip.compress(data)[:-200])
    (*whole, (place, fault)) = rows("mbox:mail/b.mbox.gz")
    assert (place, fault) == (f"mail/b.mbox.gz#{len(whole) + 1}", Drop("truncated gzip"))
    assert [row for _, row in whole] == [row for _, row in plain][: len(whole)]


def test_from_lines(project: Path, rows: Callable[[str], list[tuple[str, Any]]]) -> None:
    """A message begins at a From line with a date behind a blank line; escaped ones are unescaped."""
    (project / "odd.mbox").write_bytes(
        b"From a@example.org Fri May  3 10:12:00 2024\r\nSubject: one\r\n\r\nHello.\r\n\r\n"
        b"From here on it is a sentence.\r\n\r\n>From is escaped.\r\n\r\n"
        b"From b@example.org  Sat May  4 10:12:00 2024\nSubject: two\n\nBye.\n"
        b"From c@example.org Sat May  4 10:12:00 2024 stands behind no blank line.\n"
    )
    (one, two) = (row["text"] for _, row in rows("mbox:odd.mbox"))
    assert one == "Hello.\n\nFrom here on it is a sentence.\n\nFrom is escaped."
    assert two.startswith("Bye.\nFrom c@example.org")


def test_files_that_are_no_archive(project: Path, rows: Callable[[str], list[tuple[str, Any]]]) -> None:
    (project / "empty.mbox").touch()
    (project / "letter.mbox").write_text("Dear Ann,\n")
    (project / "torn.mbox.gz").write_bytes(b"no gzip at all")
    found = {place: row.reason for place, row in rows("mbox:*.mbox*")}
    assert found == {"empty.mbox": "empty file", "letter.mbox": "not an mbox file", "torn.mbox.gz": "corrupt gzip"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty message"),
        (raw("Content-Type: text/plain", b"a\0b"), "nul byte"),
        (raw("Content-Type: text/plain\nContent-Transfer-Encoding: base64", b"a"), "broken base64"),
        (raw("Content-Type: multipart/mixed; boundary=x", b"cut off"), "no text"),
        (raw("Content-Type: application/pdf", b"%PDF"), "no text"),
        (raw("Content-Type: text/html", b"<head><title>x</title></head><script>y</script>"), "no text"),
    ],
)
def test_messages_that_cannot_be_read(mail: ModuleType, data: bytes, reason: str) -> None:
    from factory_mail.messages import read_message

    with pytest.raises(Drop) as caught:
        read_message(data)
    assert caught.value.reason == reason


@pytest.fixture(scope="module")
def read_message() -> Iterator[Callable[[bytes], dict[str, Any]]]:
    sys.path.insert(0, str(PACKAGE))
    yield importlib.import_module("factory_mail.messages").read_message
    sys.path.remove(str(PACKAGE))
    for name in [name for name in sys.modules if name.startswith("factory_mail")]:
        del sys.modules[name]


@given(
    st.binary(max_size=200) | st.text("<>![]-/ab&#;=\"' \n", max_size=60).map(str.encode),
    st.sampled_from(["", "Content-Type: text/html; charset=utf-8", "Subject: =?x?b?=?=", "Date: 99"]),
)
def test_any_bytes_are_a_text_or_a_drop(
    read_message: Callable[[bytes], dict[str, Any]], body: bytes, headers: str
) -> None:
    try:
        fields = read_message(raw(headers, body))
    except Drop:
        return
    assert fields["text"].strip()
    json.dumps(fields, ensure_ascii=False).encode()  # no lone surrogates


def test_alternatives_and_damaged_forms(mail: ModuleType) -> None:
    from factory_mail.messages import read_message

    outer = email.mime.multipart.MIMEMultipart("alternative")
    plain = email.mime.text.MIMEText("x", "plain", "utf-8")
    plain.set_param("charset", "klingon")
    outer.attach(plain)
    outer.attach(email.mime.text.MIMEText("<blockquote>old</blockquote><div>new</div>", "html", "utf-8"))
    assert read_message(outer.as_bytes())["text"] == "new"
    forwarded = message("Read this.\n")
    forwarded.add_attachment(message("The other letter.\n"))
    assert read_message(forwarded.as_bytes())["text"] == "Read this."
    latin = raw("Subject: =?iso-8859-1?q?caf=E9?= Gr\u00fc\u00dfe", "ünïcode".encode())
    assert read_message(latin)["text"] == "ünïcode"  # no charset declared
    assert read_message(latin)["meta"]["subject"] == "café Grüße"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Top.\n\nAm 03.05.2024 um 10:12 schrieb Ann:\n> Frage?\n", "Top."),
        ("> Question?\n\nAnswer.\n\n> Another?\n\nYes.", "Answer.\n\nYes."),
        ("Please buy:\n\n> milk\n", "Please buy:"),  # a colon, but neither date nor address
        ("Done.\n\n-----Original Message-----\nFrom: Ann\n\nDo it.", "Done."),
        ("Gut.\n\nVon: Ann\nGesendet: Freitag\nAn: Bob\nBetreff: x\n\nMach es.", "Gut."),
        ("From: is a header, I wrote.\nNothing else.", "From: is a header, I wrote.\nNothing else."),
        ("Hi.\n-- \nAnn", "Hi."),
        ("Hi.\n--\n" + "long\n" * 12, "Hi.\n--\n" + "long\n" * 11 + "long"),
        ("Hi.\n" + "_" * 47 + "\nPython-list mailing list\n", "Hi."),
        ("a\n\n\n\nb", "a\n\nb"),
    ],
)
def test_own_words(mail: ModuleType, text: str, kept: str) -> None:
    from factory_mail.quotes import own_words

    assert own_words(text) == kept


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Auto-Submitted": "no"}, None),
        ({"Auto-Submitted": "auto-generated"}, "automatic mail"),
        ({"X-Autoreply": "yes"}, "automatic mail"),
        ({"Precedence": "auto_reply"}, "automatic mail"),
        ({"Return-Path": "<>"}, "bounce"),
        ({"Return-Path": "<ann@example.org>"}, None),
        ({"Precedence": "bulk"}, "bulk mail"),
        ({"List-Unsubscribe": "<mailto:off@example.org>"}, "bulk mail"),
        ({"List-Unsubscribe": "<mailto:off@example.org>", "List-Post": "<mailto:list@example.org>"}, None),
        ({"Precedence": "list", "List-Post": "<mailto:list@example.org>"}, None),
    ],
)
def test_no_automatic_mail(mail: ModuleType, headers: dict[str, str], reason: str | None) -> None:
    from factory_mail.automatic import no_automatic_mail
    from factory_mail.messages import read_message

    record = read_message(message("Hello.\n", **headers).as_bytes())
    assert "example.org" not in json.dumps(record["meta"])
    if reason is None:
        assert no_automatic_mail.function(record) is True
    else:
        with pytest.raises(Drop) as caught:
            no_automatic_mail.function(record)
        assert caught.value.reason == reason
    if reason == "bulk mail":
        assert no_automatic_mail.function(record, bulk=True) is True


def test_maildir(project: Path, mail: ModuleType, rows: Callable[[str], list[tuple[str, Any]]]) -> None:
    """Marking a message as read changes nothing; a new message changes one piece."""
    box = mailbox.Maildir(project / "inbox")
    for n in range(40):
        box.add(message(f"Letter {n}.\n"))
    before = mail.open_dataset("maildir:inbox").pieces()
    found = dict(rows("maildir:inbox"))
    assert sorted(row["text"] for row in found.values()) == sorted(f"Letter {n}." for n in range(40))
    for key in list(box.keys())[:5]:
        seen = box[key]
        seen.set_subdir("cur")
        seen.set_flags("S")
        box[key] = seen
    assert mail.open_dataset("maildir:inbox").pieces() == before
    assert dict(rows("maildir:inbox")) == found
    assert all(place.startswith("inbox/cur/") and ":" not in place for place in found)
    box.add(message("One more.\n"))
    after = mail.open_dataset("maildir:inbox").pieces()
    assert len({piece.key for piece in after} - {piece.key for piece in before}) == 1


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [
        ("mbox:nothing.mbox", "no mbox file matches 'nothing.mbox'"),
        ("maildir:.", "no folder that matches '.' is a Maildir"),
        ("mbox:a.mbox?quote=keep", "no option 'quote'; known: quotes, addresses"),
        ("mbox:a.mbox?quotes=yes", "quotes is 'yes'; expected remove or keep"),
    ],
)
def test_mistakes_are_sentences(mail: ModuleType, uri: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence.replace("?", r"\?")):
        mail.open_dataset(uri)
    assert mail.open_dataset("mail/*.txt") is None


def test_only_public_names_are_used() -> None:
    import ast

    for path in (PACKAGE / "factory_mail").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "factory":
                assert node.module == "factory"
                assert {alias.name for alias in node.names} <= set(factory.__all__)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "factory":
                assert node.attr in factory.__all__


@pytest.mark.builds
def test_the_installed_package_works(
    project: Path, write: Write, run: Callable[..., subprocess.CompletedProcess[str]], tmp_path_factory: Any
) -> None:
    copy, site = tmp_path_factory.mktemp("source") / "factory-mail", tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(site), str(copy)], check=True, capture_output=True)
    path = {"PYTHONPATH": str(site)}
    archive(project)
    write("recipe.yaml", RECIPE.format(uri="mbox:mail/a.mbox"))
    listed = {row["plugin"]: row for row in json.loads(run("plugins", "--json", **path).stdout)}
    assert listed["mail"] == {
        "plugin": "mail",
        "steps": ["no_automatic_mail"],
        "hooks": ["open_dataset", "register_commands"],
    }
    built = run("build", "recipe.yaml", "--json", **path)
    assert built.returncode == 0, built.stderr
    assert json.loads(built.stdout)["targets"]["letters"]["records"] == len(TEXTS)
    looked = run("mail", "mail/a.mbox", **path)
    assert looked.stdout.endswith("6 messages can be read, 1 broken charset, 1 unknown charset, 1 nothing but quotes\n")
