"""Mail that no person wrote to be read: out-of-office replies, bounces, newsletters."""

from __future__ import annotations

import factory
from factory import Drop, Text


@factory.step
def no_automatic_mail(record: Text, bulk: bool = False) -> bool:
    """Drop automatic replies, bounces and bulk mail, by the headers that the mail source left in meta.headers.

    A mailing list that people can write to (it says so in List-Post) is no bulk mail, whatever its Precedence is.
    Records without these headers stay.

    bulk  keep bulk mail such as newsletters
    """
    headers = record.get("meta", {}).get("headers") or {}
    submitted = headers.get("auto-submitted", "no").partition(";")[0].strip()  # RFC 3834, section 5
    if headers.get("return-path") == "<>" or headers.get("content-type") == "multipart/report":
        raise Drop("bounce")
    if submitted != "no":
        raise Drop("automatic mail", header="auto-submitted", value=submitted)
    if answered := next((name for name in ("x-autoreply", "x-autorespond") if name in headers), None):
        raise Drop("automatic mail", header=answered, value=headers[answered])
    precedence = headers.get("precedence", "")
    if precedence == "auto_reply":
        raise Drop("automatic mail", header="precedence", value=precedence)
    if bulk or "list-post" in headers:
        return True
    if precedence in ("bulk", "junk"):
        raise Drop("bulk mail", header="precedence", value=precedence)
    if "list-unsubscribe" in headers:
        raise Drop("bulk mail", header="list-unsubscribe", value=headers["list-unsubscribe"])
    return True
