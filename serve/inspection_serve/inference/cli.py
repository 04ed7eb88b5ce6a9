"""`inspection serve`: run the inference service until it is told to stop."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


class Device(enum.StrEnum):
    """Where networks run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Library(enum.StrEnum):
    """Which library runs them."""

    ONNXRUNTIME = "onnxruntime"
    OPENVINO = "openvino"
    PYTORCH = "pytorch"


class Precision(enum.StrEnum):
    """What networks compute in."""

    F32 = "f32"
    BF16 = "bf16"
    INT8 = "int8"


@app.command()
def serve(
    releases: Annotated[
        Path, typer.Option(help="folder of released models", exists=True, file_okay=False)
    ],
    host: Annotated[str, typer.Option(help="address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one", min=0, max=65535)] = 8500,
    device: Annotated[
        Device, typer.Option(help="auto takes CUDA when there; cuda never falls back")
    ] = Device.AUTO,
    runtime: Annotated[
        Library | None,
        typer.Option(help="default: onnxruntime with CUDA, else openvino", show_default=False),
    ] = None,
    precision: Annotated[
        Precision,
        typer.Option(
            help="bf16 and int8 are faster, with openvino; a release without that variant is refused"
        ),
    ] = Precision.F32,
    threads: Annotated[
        int, typer.Option(help="threads for one inference; 0: the library's choice", min=0, max=256)
    ] = 0,
    max_batch: Annotated[int, typer.Option(help="most images run together", min=1, max=64)] = 8,
    max_delay_ms: Annotated[
        float, typer.Option(help="longest wait for other requests", min=0, max=100)
    ] = 2.0,
    stall: Annotated[
        float, typer.Option(help="an inference longer than this, in seconds, is a fault", min=0.01)
    ] = 30.0,
    ray: Annotated[
        bool, typer.Option("--ray", help="run releases as replicas on the nodes of a Ray cluster")
    ] = False,
    address: Annotated[
        str,
        typer.Option(help="with --ray: HOST:PORT of the cluster's head; default: start one here"),
    ] = "",
    ray_name: Annotated[
        str, typer.Option(help="with --ray: name of this service in the cluster")
    ] = "inspection",
    replicas: Annotated[
        int, typer.Option(help="with --ray: replicas of each release", min=1, max=1000)
    ] = 1,
    max_replicas: Annotated[
        int | None,
        typer.Option(
            help="with --ray: grow up to so many under load; default: always --replicas",
            min=1,
            max=1000,
            show_default=False,
        ),
    ] = None,
    shrink_after: Annotated[
        float,
        typer.Option(
            help="with --max-replicas: seconds of less load after which there are fewer again",
            min=1,
        ),
    ] = 600.0,
    cpus: Annotated[
        float, typer.Option(help="with --ray: processors that one replica reserves", min=0.01)
    ] = 1.0,
    load_timeout: Annotated[
        float,
        typer.Option(help="with --ray: seconds until all replicas of a release are warm", min=1),
    ] = 300.0,
) -> None:
    """Serve released models over the Open Inference Protocol.

    The release in force of every part is loaded at the start. Exit code 70 is a fault of the
    runtime: start it again. Exit code 71: the address, the device or the cluster cannot be used.
    """
    from inspection.errors import ConfigError
    from inspection_serve.inference.process import Settings, run

    if (address or max_replicas or replicas != 1) and not ray:
        raise ConfigError("--address, --replicas and --max-replicas are for --ray; name it too")

    settings = Settings(
        releases=releases,
        host=host,
        port=port,
        device=device.value,
        runtime=runtime.value if runtime else None,
        precision=precision.value,
        threads=threads,
        max_batch=max_batch,
        max_delay=max_delay_ms / 1000,
        stall=stall,
    )
    if not ray:
        raise typer.Exit(run(settings))
    from inspection_serve.ray_serve.front import RaySettings, run_front

    cluster = RaySettings(
        address=address,
        name=ray_name,
        replicas=replicas,
        most=max_replicas,
        shrink_after=shrink_after,
        cpus=cpus,
        load_timeout=load_timeout,
    )
    raise typer.Exit(run_front(settings, cluster))
