"""Site: what every page may use: the store, the station's folders, the texts and templates."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from inspection.config import PagesConfig, load_station
from inspection.errors import ConfigError
from inspection.store.config import StoreConfig
from inspection.store.web import people
from inspection.store.web.access import WebStore
from inspection_serve.web.texts import Texts, load_texts


@dataclass(slots=True)
class Site:
    """One results store with its folders, opened for pages.

    Attributes:
        store: short transactions of the store.
        images: folder of the pictures.
        station: the station file, None when a store alone was given.
        releases: folder of released models, None when not given.
        recipes: folder of recipe files, None when not given.
        datasets: folder of datasets, None when not given.
        work: folder of jobs and exports; made when first used.
        texts: English and Korean.
        pages: what the station file says of the pages; the defaults for a store alone.
        live: folder where the line publishes its state and latest picture.
        setup_code: whoever shows it becomes the first administrator; empty once there is one.
        address: where the pages are, as printed.
        on_close: what background threads ask to be called at the end.
    """

    store: WebStore
    images: Path
    station: Path | None
    releases: Path | None
    recipes: Path | None
    datasets: Path | None
    work: Path
    texts: Texts
    pages: PagesConfig
    live: Path
    setup_code: str = ""
    address: str = "/"
    on_close: list[Callable[[], None]] = field(default_factory=list)
    _looking: threading.Lock = field(default_factory=threading.Lock)

    def look_for_people(self) -> str:
        """Return the setup code that holds now, empty when there is somebody. Raises StoreError.

        Another process may have added the first person; and a store that was put aside takes everybody with
        it: then a new code is made and printed.
        """
        with self.store.read("looking for people") as connection:
            is_anybody = people.any_person(connection)
        with self._looking:
            if is_anybody:
                self.setup_code = ""
            elif not self.setup_code:
                self.setup_code = secrets.token_urlsafe(12)
                self.tell_setup()
            return self.setup_code

    def tell_setup(self) -> None:
        """Print where the first administrator is made, while there is none."""
        if self.setup_code:
            to = f"{self.address}setup?code={self.setup_code}"
            print(f"nobody can sign in yet; open {to}", flush=True)  # noqa: T201  a person reads it

    def close(self) -> None:
        """Stop what runs beside the pages, then let go of the store."""
        for call in reversed(self.on_close):
            call()
        self.store.close()


def open_site(
    store: str,
    *,
    images: Path | None = None,
    releases: Path | None = None,
    recipes: Path | None = None,
    datasets: Path | None = None,
    work: Path | None = None,
) -> Site:
    """Open a station file or a store.

    Raises:
        StoreError: the store cannot be used.
        ConfigError: the station file or a folder cannot be read.
    """
    station, live, pages = None, None, PagesConfig.model_validate({})
    if store.endswith((".yaml", ".yml")):
        station = Path(store)
        config = load_station(station)
        settings, pages = config.store, config.web or pages.beside(station.resolve().parent)
        releases, recipes = releases or config.releases, recipes or config.recipes
        live = config.live_folder
        datasets, work = datasets or pages.datasets, work or pages.work
    else:
        settings = StoreConfig.model_validate({"url": store})
        path = settings.sqlite_path
        beside = Path.cwd() if path is None else path.parent
        settings = settings.model_copy(
            update={"images": settings.images.model_copy(update={"folder": beside / "images"})}
        )
    for named, folder in {"releases": releases, "recipes": recipes, "datasets": datasets}.items():
        if folder is not None and not folder.is_dir():
            raise ConfigError(f"there is no folder {folder}; check --{named}")
    opened = WebStore(settings)
    folder = images or settings.images.folder
    with opened.read("looking for people") as connection:
        code = "" if people.any_person(connection) else secrets.token_urlsafe(12)
    return Site(
        store=opened,
        images=folder,
        station=station,
        releases=releases,
        recipes=recipes,
        datasets=datasets,
        work=work or folder.parent / "web",
        texts=load_texts(),
        pages=pages,
        live=live or folder.parent / "live",
        setup_code=code,
    )
