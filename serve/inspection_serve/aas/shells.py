"""Every shell and submodel of an export.

the station ─▶ Nameplate, SoftwareNameplate, TimeSeries, AssetInterfacesDescription
each release ─▶ SoftwareNameplate, AIModelNameplate, AIDeployment, AIDataset of what it learned from
a dataset that was asked for and belongs to no release: on the station's shell
"""

from __future__ import annotations

from basyx.aas import model

from inspection_serve.aas.ai_dataset import ai_dataset
from inspection_serve.aas.ai_deployment import ai_deployment
from inspection_serve.aas.ai_model import ai_model
from inspection_serve.aas.elements import id_short, shell
from inspection_serve.aas.gathered import Gathered
from inspection_serve.aas.identifiers import Identifiers, shell_of
from inspection_serve.aas.interfaces import interfaces
from inspection_serve.aas.nameplate import nameplate
from inspection_serve.aas.software import release_software, station_software
from inspection_serve.aas.time_series import time_series

Store = model.DictIdentifiableStore[model.Identifiable]


def shells(gathered: Gathered) -> Store:
    """Return the shells and their submodels."""
    asset = gathered.nameplate.uri_of_the_product
    datasets = {
        version.sha256: ai_dataset(gathered, version, sharing)
        for version, sharing in gathered.datasets
    }
    own = [nameplate(gathered), station_software(gathered)]
    if gathered.series is not None:
        own.append(time_series(gathered, gathered.series))
    if not gathered.redact and (ways := interfaces(gathered)) is not None:
        own.append(ways)
    learned = {one.dataset.sha256 for one in gathered.releases if one.dataset is not None}
    own += [built for sha256, built in datasets.items() if sha256 not in learned]
    found: Store = model.DictIdentifiableStore(own)
    for sha256 in learned:
        found.add(datasets[sha256])
    found.add(shell(shell_of(asset), "Station", asset, own, kind="inspection station"))
    taken: set[str] = {"Station"}
    for release in gathered.releases:
        uri = Identifiers(asset).release(release.name)
        parts = [
            release_software(gathered, release),
            ai_model(gathered, release),
            ai_deployment(gathered, release),
        ]
        for one in parts:
            found.add(one)
        if release.dataset is not None:
            parts.append(datasets[release.dataset.sha256])
        name = id_short(f"Release_{release.name}", taken)
        found.add(shell(shell_of(uri), name, uri, parts, kind="AI model"))
    return found
