"""Web archives for the dataset factory: `warc:PATH`, or a path that ends with .warc, .warc.gz, .wet.gz and the like."""

import factory


@factory.hookimpl
def open_dataset(uri: str) -> factory.Source | None:
    from .archives import open_archives

    return open_archives(uri)
