"""Wikipedia for the dataset factory: `wikipedia:PATH`, the pages-articles dumps of any MediaWiki, .xml or .xml.bz2."""

import factory


@factory.hookimpl
def open_dataset(uri: str) -> factory.Source | None:
    from .dumps import open_dumps

    return open_dumps(uri)
